"""Names out as a table, corrected by people, back in: marked, safe, surviving."""

import csv
import random
import re

import pytest

from precompute.errors import AtlasError, DataError
from precompute.naming.corrections import COLUMNS, export_names, import_corrections
from precompute.records import Author, ConceptName, LocalName
from precompute.records.named import choose_names

NAMES = {
    name.concept: name
    for name in (
        ConceptName("features.10:0", "wheel", "A dark ring.", "llm:m", kind="part", confidence=0.7, date="2026-01-01"),
        ConceptName("features.2:11", "sky, pale", 'Says "blue".', "offline", kind="scene"),
        ConceptName("features.2:2", "", "", "llm:m", failure="the model refused"),
    )
}


def rows(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def edit(path, edits, *, separator=","):
    """Change cells {(concept, column): text} as a spreadsheet would write them back."""
    table = rows(path)
    for row in table[1:]:
        for (concept, column), text in edits.items():
            if row[0] == concept:
                row[COLUMNS.index(column)] = text
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, delimiter=separator).writerows(table)


def exported(tmp_path, names=NAMES):
    path = tmp_path / "names.csv"
    export_names(path, names.values())
    return path


def read(path, names=NAMES):
    return import_corrections(path, names, author="Ada", date="2026-02-03")


def test_table_keeps_the_order_of_the_names(tmp_path):
    table = rows(exported(tmp_path))
    assert tuple(table[0]) == COLUMNS
    assert [row[0] for row in table[1:]] == list(NAMES)


def test_unchanged_table_holds_no_correction(tmp_path):
    assert read(exported(tmp_path)) == ()


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_correction_is_marked_with_author_and_date(tmp_path, separator):
    path = exported(tmp_path)
    edit(path, {("features.10:0", "name"): "tyre"}, separator=separator)
    (correction,) = read(path)
    assert (correction.name, correction.author, correction.date) == ("tyre", "person:Ada", "2026-02-03")
    assert (correction.kind, correction.raw_reply) == ("part", "")
    assert correction.by == Author("person", "Ada")


def test_failed_concept_can_be_named_by_a_person(tmp_path):
    path = exported(tmp_path)
    edit(path, {("features.2:2", "name"): "twigs"})
    (correction,) = read(path)
    assert correction.failure == ""
    assert choose_names(NAMES.values(), [correction])["features.2:2"].name == "twigs"


def test_round_trip_keeps_any_text(tmp_path):
    """Formulas, quotes, commas, apostrophes and other scripts come back as they were."""
    chance = random.Random(1)
    alphabet = "=+-@'|%\"',;\\ab輪é＝＋－＠"
    names = {}
    for channel in range(300):
        text = "".join(chance.choice(alphabet) for _ in range(chance.randrange(1, 8))).strip() or "x"
        names[f"c:{channel}"] = ConceptName(f"c:{channel}", text, text[::-1].strip(), "llm:m")
    path = exported(tmp_path, names)
    assert read(path, names) == ()
    for row in rows(path)[1:]:
        assert not row[1].startswith(("=", "+", "-", "@", "|", "%", "＝", "＋", "－", "＠"))


def test_formula_cannot_run_in_a_spreadsheet(tmp_path):
    name = ConceptName("c:0", '=HYPERLINK("http://x")', "\t=1+1", "llm:=m")
    cells = rows(exported(tmp_path, {"c:0": name}))[1]
    assert cells[1].startswith("'=")
    assert cells[3].startswith("'=")


BAD = {
    "unknown_concept": ("concept,name\nfeatures.9:1,x\n", "line 2: found the unknown concept 'features.9:1'"),
    "twice": ("concept,name\nfeatures.10:0,x\nfeatures.10:0,y\n", "line 3: .* comes twice"),
    "empty_name": ("concept,name\nfeatures.10:0,\n", "line 2: found an empty name"),
    "unknown_kind": ("concept,name,kind\nfeatures.10:0,x,thing\n", "line 2: found the kind 'thing'"),
    "no_name_column": ("concept,kind\nfeatures.10:0,part\n", "line 1: found no column 'name'"),
    "unknown_column": ("concept,name,colour\nfeatures.10:0,x,red\n", "line 1: found the unknown column 'colour'"),
    "column_twice": ("concept,name,name\nfeatures.10:0,x,y\n", "line 1: found a column that comes twice"),
    "too_few_cells": ("concept,name,kind\nfeatures.10:0,x\n", "line 2: found 2 cells, expected 3"),
    "too_many_cells": ("concept,name\nfeatures.10:0,x,y\n", "line 2: found 3 cells, expected 2"),
    "open_quote": ('concept,name\nfeatures.10:0,"x\n', "line 2: "),
    "long_name": (f"concept,name\nfeatures.10:0,{'x' * 61}\n", "line 2: found the name .* 61 characters long"),
    "digit": ("concept,name\nfeatures.10:0,3 wheels\n", "line 2: found the name '3 wheels' .* holds a digit"),
    "percent": ("concept,name\nfeatures.10:0,half % dark\n", "line 2: .* holds a share"),
    "braces": ("concept,name\nfeatures.10:0,{share}\n", "line 2: .* holds markup"),
    "six_words": ("concept,name\nfeatures.10:0,a b c d e f\n", "line 2: .* at most 5 are allowed"),
    "only_quotes": ("concept,name\nfeatures.10:0,'.'\n", "line 2: .* name is empty"),
    "second_digit": ("concept,name,second_name\nfeatures.10:0,x,50 y\n", "line 2: .* second_name holds a digit"),
    "mangled_base": ("concept,name,base\nfeatures.10:0,x,1.2E+11\n", "line 2: found the base '1.2E\\+11'"),
    "empty_file": ("", "line 1: found an empty file"),
    "description_markup": (
        "concept,name,description\nfeatures.10:0,x,see https://x.org\n",
        "line 2: found the description .* holds an address",
    ),
    "description_digit": ("concept,name,description\nfeatures.10:0,x,3 of them\n", "line 2: .* holds a digit"),
    "long_description": (f"concept,name,description\nfeatures.10:0,x,{'a ' * 300}\n", "line 2: .* characters long"),
    "later_line": ('concept,name\nfeatures.10:0,"good, name"\n\nnope,x\n', "line 4: found the unknown concept 'nope'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_table_is_one_clear_error_with_its_line(tmp_path, case):
    content, message = BAD[case]
    path = tmp_path / "names.csv"
    path.write_text(content, encoding="utf-8", newline="")
    with pytest.raises(DataError, match=message) as info:
        read(path)
    assert "Nothing was imported" in str(info.value)
    assert path.name in str(info.value)


def test_an_unedited_row_does_not_undo_another_persons_correction(tmp_path):
    """Two people edit the same export; the second table still holds the first one's row as it was."""
    path = exported(tmp_path)
    edit(path, {("features.2:11", "name"): "pale sky"})
    tyre = ConceptName("features.10:0", "tyre", "", "person:Bob", kind="part", date="2026-02-01")
    (correction,) = read(path, NAMES | {tyre.concept: tyre})
    assert (correction.concept, correction.name) == ("features.2:11", "pale sky")


def test_an_edited_row_whose_name_has_changed_since_is_refused(tmp_path):
    path = exported(tmp_path)
    edit(path, {("features.10:0", "name"): "rim"})
    tyre = ConceptName("features.10:0", "tyre", "", "person:Bob", kind="part", date="2026-02-01")
    message = "line 2: the name of features.10:0 .* corrected by Bob on 2026-02-01 .* found the base .* expected "
    with pytest.raises(DataError, match=message) as info:
        read(path, NAMES | {tyre.concept: tyre})
    for part in (path.name, "'tyre'", "Nothing was imported", "export the names again"):
        assert part in str(info.value)
    with pytest.raises(DataError, match="named anew by llm:n on an unknown date"):
        read(path, NAMES | {tyre.concept: ConceptName("features.10:0", "disc", "", "llm:n")})


@pytest.mark.parametrize("with_base", [True, False])
def test_the_same_table_imported_again_holds_no_correction(tmp_path, with_base):
    """The row still shows the old description, which the correction has dropped and must not take up now."""
    path = exported(tmp_path)
    edit(path, {("features.10:0", "name"): "tyre"} | ({} if with_base else {("features.10:0", "base"): ""}))
    (correction,) = read(path)
    assert read(path, NAMES | {correction.concept: correction}) == ()


def test_an_edited_row_that_says_the_current_name_is_no_correction(tmp_path):
    path = exported(tmp_path)
    edit(path, {("features.10:0", "name"): "tyre", ("features.10:0", "description"): ""})
    tyre = ConceptName("features.10:0", "tyre", "", "person:Bob", kind="part", date="2026-02-01")
    assert read(path, NAMES | {tyre.concept: tyre}) == ()


@pytest.mark.parametrize("with_column", [True, False])
def test_without_a_base_a_row_is_compared_with_the_current_name(tmp_path, with_column):
    path = tmp_path / "names.csv"
    end = [",base", ","] if with_column else ["", ""]
    path.write_text(f"concept,name{end[0]}\nfeatures.10:0,wheel{end[1]}\n")
    assert read(path) == ()
    (correction,) = read(path, NAMES | {"features.10:0": ConceptName("features.10:0", "tyre", "", "person:Bob")})
    assert correction.name == "wheel"


def test_base_survives_a_spreadsheet(tmp_path):
    """Escapes, spaces, letter case of the digest and characters that cleaning joins leave unedited rows unedited."""
    texts = ("=1+1", "'quoted", "  two   spaces ", "a\u200d\u0301", "line\nbreak", "@me")
    names = {f"c:{i}": ConceptName(f"c:{i}", text, f"{text}.", "llm:m") for i, text in enumerate(texts)}
    path = exported(tmp_path, names)
    table = rows(path)
    assert all(re.fullmatch("[a-f][0-9a-f]{11}", row[-1]) for row in table[1:])
    spaced = [table[0], *([f" {row[0]}", *(f"{cell} " for cell in row[1:-1]), row[-1].upper()] for row in table[1:])]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=";").writerows(spaced)
    others = {key: ConceptName(key, "other", "", "person:Bob") for key in names}
    assert read(path, others) == ()


def test_a_correction_keeps_only_what_the_person_said(tmp_path):
    path = exported(tmp_path)
    edit(path, {("features.10:0", "name"): "tyre", ("features.2:11", "description"): "Blue, far away."})
    by_concept = {name.concept: name for name in read(path)}
    assert by_concept["features.10:0"].description == ""
    assert by_concept["features.2:11"].description == "Blue, far away."
    assert {name.confidence for name in by_concept.values()} == {0.0}
    assert {name.stated_confidence for name in by_concept.values()} == {None}


def test_a_persons_own_description_stays_when_they_correct_the_name_again(tmp_path):
    own = {"c:0": ConceptName("c:0", "tyre", "Black rubber.", "person:Ada", confidence=1.0)}
    path = exported(tmp_path, own)
    assert rows(path)[1][COLUMNS.index("confidence")] == ""
    edit(path, {("c:0", "name"): "rim"})
    assert read(path, own)[0].description == "Black rubber."


def test_an_old_name_outside_the_rules_does_not_keep_its_description_from_being_corrected(tmp_path):
    old = {"c:0": ConceptName("c:0", "route 66 sign", "", "offline")}
    path = exported(tmp_path, old)
    edit(path, {("c:0", "description"): "A road sign."})
    assert read(path, old)[0].name == "route 66 sign"


def test_wrong_encoding_names_the_line(tmp_path):
    path = tmp_path / "names.csv"
    path.write_bytes(b"concept,name\nfeatures.10:0,caf\xe9\n")
    with pytest.raises(DataError, match="line 2: found the byte 0xe9"):
        read(path)


def test_missing_file_and_missing_author_are_errors(tmp_path):
    with pytest.raises(AtlasError, match="cannot read"):
        read(tmp_path / "none.csv")
    with pytest.raises(AtlasError, match="author"):
        import_corrections(exported(tmp_path), NAMES, author=" ", date="")


LOCAL_NAMES = {
    name.concept: name
    for name in (
        ConceptName("c:0", "wheel", "", "llm:m", language="en", local_names=(LocalName("de", "Rad"),)),
        ConceptName("c:1", "sky", "", "llm:m", language="en"),
    )
}


def edit_local(path, edits):
    """Change cells {(concept, column): text} of a table with more columns."""
    table = rows(path)
    for row in table[1:]:
        for (concept, column), text in edits.items():
            if row[0] == concept:
                row[table[0].index(column)] = text
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows(table)


def test_names_in_another_language_have_columns_of_their_own(tmp_path):
    path = exported(tmp_path, LOCAL_NAMES)
    assert rows(path)[0] == [*COLUMNS[:-1], "name_de", "second_name_de", "base"]
    assert read(path, LOCAL_NAMES) == ()
    edit_local(path, {("c:0", "name_de"): "Speichenrad", ("c:1", "name_de"): "Himmel"})
    wheel, sky = read(path, LOCAL_NAMES)
    assert (wheel.name, wheel.language, wheel.local_names) == ("wheel", "en", (LocalName("de", "Speichenrad"),))
    assert (sky.author, sky.local_names) == ("person:Ada", (LocalName("de", "Himmel"),))
    assert read(path, LOCAL_NAMES | {"c:0": wheel, "c:1": sky}) == ()
    columns = [*COLUMNS[:-1], "name_de", "second_name_de", "base"]
    export_names(path, NAMES.values(), ["de"])
    assert rows(path)[0] == columns
    assert read(path) == ()


def test_a_corrected_name_leaves_the_other_languages_names_behind(tmp_path):
    path = exported(tmp_path, LOCAL_NAMES)
    edit_local(path, {("c:0", "name"): "tyre"})
    (found,) = read(path, LOCAL_NAMES)
    assert (found.name, found.language, found.local_names) == ("tyre", "", ())
    edit_local(path, {("c:0", "name_de"): "Reifen"})
    assert read(path, LOCAL_NAMES)[0].local_names == (LocalName("de", "Reifen"),)
    edit_local(path, {("c:0", "name"): "wheel", ("c:0", "name_de"): ""})
    assert read(path, LOCAL_NAMES)[0].local_names == ()


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({("c:0", "name_de"): "Rad <b>"}, "line 2: found the name 'Rad <b>'"),
        ({("c:1", "second_name_de"): "Himmel"}, "line 3: found a second_name_de without name_de"),
    ],
)
def test_names_in_another_language_obey_the_rules_in_tables_too(tmp_path, edits, message):
    path = exported(tmp_path, LOCAL_NAMES)
    edit_local(path, edits)
    with pytest.raises(DataError, match=message):
        read(path, LOCAL_NAMES)
