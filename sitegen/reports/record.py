"""The record that every form of a report has in it, as text. Owns its encoding; must not know how pages look."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from precompute.records.reported import Document

RECORD = "record.json"


def record_of(document: Document) -> dict[str, Any]:
    """Return a document as JSON-ready data, with the header of a file of its kind."""
    kind, version = document.FILE_FORMAT
    plain: dict[str, Any] = json.loads(json.dumps(asdict(document), allow_nan=False))
    return {"kind": kind, "format_version": version, **plain}


def record_text(document: Document) -> str:
    """Return the text of the record: the same for the same document."""
    return json.dumps(record_of(document), ensure_ascii=False, indent=1, allow_nan=False) + "\n"
