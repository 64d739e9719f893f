"""The form of a reply, stated once as a pydantic model: the schema on the wire, the words of the prompt, the reading.

Owns how a model becomes a strict JSON schema, and how a reply's text becomes a record or one plain reason. Must not
know what replies mean.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError
from pydantic.fields import FieldInfo

from precompute.errors import ReplyError

from .text import harmless

Model = TypeVar("Model", bound=BaseModel)

_KEPT = ("type", "description", "enum", "const", "items", "properties", "anyOf")
"""What every server with structured output takes; limits stand in the descriptions and are checked here."""


def strict_schema(model: type[BaseModel], choices: Mapping[str, Sequence[str]] | None = None) -> dict[str, Any]:
    """Render the JSON schema of a reply in the strict form: every field required, no other one, no references.

    Parameters
    ----------
    model : type of BaseModel
    choices : mapping of str to str, optional
        What a text that the model marks as `one_of` may be in this request: a language model can choose no other.
    """
    full = _full_schema(model)
    return _strict(full, full.get("$defs", {}), choices or {})


@functools.cache
def _full_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Ask pydantic once for each form: every request of a run has one of a few."""
    return model.model_json_schema()


def one_of(choice: str) -> FieldInfo:
    """Mark a text, as ``Annotated[str, one_of("fact")]``, whose possible values are only known with the request."""
    found: FieldInfo = Field(json_schema_extra={"choice": choice})
    return found


def _strict(node: dict[str, Any], definitions: dict[str, Any], choices: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    if "$ref" in node:
        return _strict(definitions[node["$ref"].removeprefix("#/$defs/")], definitions, choices)
    kept = {key: node[key] for key in _KEPT if key in node}
    if "choice" in node:
        kept["enum"] = list(choices[node["choice"]])
    if "items" in kept:
        kept["items"] = _strict(kept["items"], definitions, choices)
    if "anyOf" in kept:
        kept["anyOf"] = [_strict(choice, definitions, choices) for choice in kept["anyOf"]]
    if "properties" in kept:
        kept["properties"] = {name: _strict(part, definitions, choices) for name, part in kept["properties"].items()}
        kept["required"] = list(kept["properties"])
        kept["additionalProperties"] = False
    return kept


def describe_fields(model: type[BaseModel]) -> str:
    """List the fields of a reply for a prompt, a line each: name, type or choice, and what belongs there."""
    lines = []
    for name, part in strict_schema(model)["properties"].items():
        kind = " | ".join(json.dumps(choice) for choice in part["enum"]) if "enum" in part else part.get("type", "")
        lines.append(f"- `{name}` ({kind}): {part.get('description', '')}".rstrip(": "))
    return "\n".join(lines)


def read_reply(text: str, model: type[Model], *, longest: int | None = None) -> Model:
    """Read the JSON of a reply as a typed record.

    Parameters
    ----------
    text : str
    model : type of BaseModel
    longest : int, optional
        Characters; a longer reply is not read.

    Raises
    ------
    ReplyError
        Says the first thing that is wrong.
    """
    if longest is not None and len(text) > longest:
        raise ReplyError(f"the reply has {len(text)} characters, at most {longest} are read")
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
    if detail["type"] == "json_invalid":
        raise ReplyError("the reply is not valid JSON, or was cut off; reply with one JSON object and nothing else")
    where = ".".join(str(part) for part in detail["loc"]) or "the reply"
    raise ReplyError(f"the reply does not follow the schema: {harmless(where, 60)}: {harmless(detail['msg'], 200)}")
