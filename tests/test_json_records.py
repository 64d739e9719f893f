"""JSON and JSON Lines: what is read is right in every field, or refused with file, line and field."""

import dataclasses
import json
import re

import pytest

from precompute.atlas.json_records import (
    RULES,
    adapter,
    json_schema,
    read_json,
    read_jsonl,
    records_in,
    to_json,
    with_header,
    write_json,
    write_jsonl,
)
from precompute.errors import StoreError
from precompute.records.explained import Explanation
from precompute.records.named import ConceptName, ConceptScore
from precompute.records.scored import ConceptTruth, TruthReport

NAME = ConceptName("layer:3", "wheel", "a round thing", "offline", "part", 0.5, outliers=(1, 2), evidence=("x\u2028y",))
TRUTH = TruthReport(concepts={"layer:3": ConceptTruth("wheel", 0.5, 0.1, 1.0, True)})


def lines(folder, **changes):
    path = folder / "names.jsonl"
    write_jsonl(path, [NAME, NAME])
    second = json.loads(to_json(NAME)) | changes
    path.write_text(path.read_text().split("\n")[0] + "\n" + json.dumps(second) + "\n")
    return path


def test_records_come_back_as_they_went(tmp_path):
    write_jsonl(tmp_path / "names.jsonl", [NAME, NAME])
    assert read_jsonl(tmp_path / "names.jsonl", ConceptName) == [NAME, NAME]
    write_json(tmp_path / "truth.json", TRUTH)
    found = read_json(tmp_path / "truth.json", TruthReport)
    assert found == TRUTH
    assert type(found) is TruthReport
    assert read_jsonl(tmp_path / "none.jsonl", ConceptName) == []


@pytest.mark.parametrize(
    ("changes", "field", "found"),
    [
        ({"confidence": 7.5}, "confidence", "7.5"),
        ({"confidence": "0.5"}, "confidence", "0.5"),
        ({"confidence": True}, "confidence", "True"),
        ({"kind": "banana"}, "kind", "banana"),
        ({"colour": "red"}, "colour", "unknown"),
        ({"name": None}, "name", "None"),
        ({"outliers": [0, -1]}, "outliers.1", "-1"),
        ({"outliers": [0.5]}, "outliers.0", "0.5"),
    ],
)
def test_a_wrong_or_unknown_field_of_a_line_is_named(tmp_path, changes, field, found):
    path = lines(tmp_path, **changes)
    with pytest.raises(StoreError, match=rf"names\.jsonl, line 2, is damaged: .*{re.escape(field)}.*") as caught:
        read_jsonl(path, ConceptName)
    assert found in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"kind": "truth"', '"kind": "banana"', "is no 'truth' file: its kind is 'banana'"),
        ('"format_version": 1', '"format_version": 2', "has the format version 2, this program reads version 1"),
        (' "format_version": 1,\n', "", "has the format version none"),
        ('"mass": 0.5', '"mass": 1.5', r"concepts\.layer:3\.mass: .* found '1.5'"),
        ('"mass": 0.5', '"mass": NaN', r"is damaged"),
        ('"mass": 0.5', '"weight": 0.5', r"'concepts\.layer:3\.weight' is unknown"),
        ('"name_right": true', '"name_right": 1', r"name_right: "),
        ("{", "[" * 5000, "is damaged: the whole"),
    ],
)
def test_a_wrong_header_or_field_of_a_file_is_named(tmp_path, old, new, message):
    path = tmp_path / "truth.json"
    write_json(path, TRUTH)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(StoreError, match=message) as caught:
        read_json(path, TruthReport, "Run this.")
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith("Run this.")


@pytest.mark.parametrize("kind", [Explanation, TruthReport, ConceptName, ConceptScore])
def test_every_record_below_a_file_refuses_what_it_does_not_know(kind):
    adapter(kind)
    found = list(records_in(kind))
    assert found
    assert all(record.__pydantic_config__ is RULES for record in found)


def test_a_schema_forbids_other_fields_and_holds_the_header():
    schema = json_schema(TruthReport)
    assert schema["additionalProperties"] is False
    assert schema["properties"]["format_version"]["const"] == 1
    assert {"kind", "format_version"} <= set(schema["required"])
    assert all(definition["additionalProperties"] is False for definition in schema["$defs"].values())
    assert dataclasses.is_dataclass(with_header(TruthReport))
