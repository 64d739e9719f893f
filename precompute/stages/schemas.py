"""The JSON Schemas in ``docs/schemas/``, written from the records by ``make schemas``.

Owns which files the project writes as JSON or JSON Lines, and their types. Must not know what is in the records.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from precompute.atlas.json_records import json_schema
from precompute.config import NOT_KEYS, Config
from precompute.llm.batch import SubmittedBatches
from precompute.llm.journal import Entry
from precompute.records import ConceptName, ConceptScore, Explanation, TrustReport, TruthReport
from precompute.records.reported import Document
from precompute.records.signed import Signature
from precompute.records.studied import StudyAnswers, StudyKey, StudyResult

FILES: dict[str, type] = {
    "names.jsonl": ConceptName,
    "corrections.jsonl": ConceptName,
    "scores.jsonl": ConceptScore,
    "explanation.json": Explanation,
    "truth.json": TruthReport,
    "trust.json": TrustReport,
    "record.json": Document,
    "report.pdf.sig": Signature,
    "study/key.json": StudyKey,
    "study/answers.json": StudyAnswers,
    "study/result.json": StudyResult,
    "llm/journal.jsonl": Entry,
    "llm/batches.json": SubmittedBatches,
}
"""The record of a whole JSON file, or of one line."""


def schemas() -> dict[str, dict[str, Any]]:
    """Return every schema by the name of its file."""
    found = {f"{name.replace('/', '-')}.schema.json": json_schema(kind) for name, kind in FILES.items()}
    return {**found, "config.toml.schema.json": _config_schema()}


def _config_schema() -> dict[str, Any]:
    """Return the schema of a config as it is written: without the fields that are no keys, and no key required."""
    schema = TypeAdapter(Config).json_schema()
    del schema["required"]
    for name in NOT_KEYS:
        del schema["properties"][name]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def write_schemas(folder: Path) -> None:
    """Write all schemas into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas().items():
        (folder / name).write_text(text_of(schema), encoding="utf-8")


def text_of(schema: dict[str, Any]) -> str:
    """Return the text of a schema's file."""
    return json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
