"""Names out as a table, corrected by people, back in: marked, safe, surviving."""

import csv
import random

import pytest

from precompute.corrections import COLUMNS, export_names, import_corrections, is_correction, merge_names
from precompute.errors import AtlasError, DataError
from precompute.records import ConceptName

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


def test_table_is_ordered_by_layer_and_channel(tmp_path):
    table = rows(exported(tmp_path))
    assert tuple(table[0]) == COLUMNS
    assert [row[0] for row in table[1:]] == ["features.2:2", "features.2:11", "features.10:0"]


def test_unchanged_table_holds_no_correction(tmp_path):
    assert read(exported(tmp_path)) == ()


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_correction_is_marked_with_author_and_date(tmp_path, separator):
    path = exported(tmp_path)
    edit(path, {("features.10:0", "name"): "tyre"}, separator=separator)
    (correction,) = read(path)
    assert (correction.name, correction.author, correction.date) == ("tyre", "person:Ada", "2026-02-03")
    assert (correction.description, correction.kind, correction.raw_reply) == ("A dark ring.", "part", "")
    assert is_correction(correction)


def test_failed_concept_can_be_named_by_a_person(tmp_path):
    path = exported(tmp_path)
    edit(path, {("features.2:2", "name"): "twigs"})
    (correction,) = read(path)
    assert correction.failure == ""
    assert merge_names(NAMES.values(), [correction])["features.2:2"].name == "twigs"


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
    "long_name": (f"concept,name\nfeatures.10:0,{'x' * 121}\n", "line 2: found a name of 121 characters"),
    "empty_file": ("", "line 1: found an empty file"),
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


def test_correction_survives_renaming():
    by_person = ConceptName("c:0", "tyre", "", "person:Ada", date="2026-01-01")
    later = ConceptName("c:0", "rim", "", "person:Bob", date="2026-03-01")
    by_model = ConceptName("c:0", "wheel", "", "llm:m", date="2026-09-09")
    failed = ConceptName("c:0", "", "", "llm:m", failure="refused")
    offline = ConceptName("c:0", "round", "", "offline", date="2026-09-09")
    assert merge_names([by_person], [by_model], [offline])["c:0"] is by_person
    assert merge_names([offline], [by_model])["c:0"] is by_model
    assert merge_names([by_model], [offline])["c:0"] is by_model
    assert merge_names([failed], [offline])["c:0"] is offline
    assert merge_names([later], [by_person])["c:0"] is later
