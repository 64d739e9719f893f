"""The committed JSON Schemas are those of the records."""

from pathlib import Path

from precompute.stages.schemas import FILES, schemas, text_of

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"


def test_the_committed_schemas_are_current():
    found = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    expected = {name: text_of(schema) for name, schema in schemas().items()}
    assert found == expected, "run `make schemas`"


def test_format_md_speaks_of_every_file():
    text = (FOLDER.parent / "format.md").read_text(encoding="utf-8")
    for name in FILES:
        assert f"`{name}`" in text or name == "explanation.json"
