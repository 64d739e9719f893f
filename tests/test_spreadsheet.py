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


@pytest.mark.parametrize("text", ["|cmd", "%0A=1", "＝1+1", "=1+1", '=HYPERLINK("x")'])
def test_both_tables_of_names_are_guarded_alike(tmp_path, text):
    """The table for corrections, and the one of the site: no cell of either begins as the text does."""
    source = tmp_path / "atlas"
    write_synthetic(source, n_samples=8, n_explanations=0)
    named = replace(read_jsonl(source / "names.jsonl", ConceptName)[0], name=text)
    write_jsonl(source / "names.jsonl", [named])
    build_site(tmp_path / "site", source)
    export_names(tmp_path / "names.csv", [named])
    for path in (tmp_path / "site/concepts.csv", tmp_path / "names.csv"):
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
        assert rows[0]["name"] == "'" + text
