import csv
import io
from dataclasses import replace

import pytest

from precompute.atlas.json_records import read_jsonl, write_jsonl
from precompute.naming.corrections import export_names
from precompute.printing.spreadsheet import csv_text, guarded, unguarded
from precompute.records import ConceptName
from sitegen.build import build_site
from tests.site_fixture import write_synthetic

FORMULAS = [
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r=1", "\n=cmd", "|cmd", "%0A=1", "＝1+1", "＠x", "'=1", "\u200b=1",
]  # fmt: skip
HARMLESS = ["", "wheel", "Überzug", "3 stripes", "车轮"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_cell_is_never_a_formula(text):
    assert guarded(text) == "'" + text


@pytest.mark.parametrize("text", [*FORMULAS, *HARMLESS, "'", "''", "'tis", "(round)", "“quoted”"])
def test_any_text_comes_back(text):
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize("text", HARMLESS)
def test_plain_words_stay_as_they_are(text):
    assert guarded(text) == text


def test_numbers_stay_numbers():
    assert csv_text(("share", "text", "none"), [(-0.5, "-0.5", None)]) == "share,text,none\n-0.5,'-0.5,\n"


NAMES = ("|cmd", "%0A=1", "＝1+1", "=1+1", '=HYPERLINK("x")')


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The table for corrections, and the one of the site: their rows, each with one of the names."""
    folder = tmp_path_factory.mktemp("tables")
    write_synthetic(folder / "atlas", n_samples=8, n_explanations=0)
    named = read_jsonl(folder / "atlas/names.jsonl", ConceptName)[: len(NAMES)]
    named = [replace(each, name=name) for each, name in zip(named, NAMES, strict=True)]
    write_jsonl(folder / "atlas/names.jsonl", named)
    build_site(folder / "site", folder / "atlas")
    export_names(folder / "names.csv", named)
    texts = [path.read_text(encoding="utf-8-sig") for path in (folder / "site/concepts.csv", folder / "names.csv")]
    rows = [{row["concept"]: row for row in csv.DictReader(io.StringIO(text))} for text in texts]
    return {name: [table[each.concept] for table in rows] for name, each in zip(NAMES, named, strict=True)}


@pytest.mark.parametrize("text", NAMES)
def test_both_tables_of_names_are_guarded_alike(tables, text):
    """No cell of either begins as the text does."""
    for row in tables[text]:
        assert row["name"] == "'" + text
