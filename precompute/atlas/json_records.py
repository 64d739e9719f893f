"""Records as JSON and JSON Lines: what is read is right in every field, or refused with file, line and field.

Owns the strictness of reading, the header of every JSON file (``kind`` and ``format_version``), and the JSON Schemas.
Must not know which records there are: they are plain frozen dataclasses that say their format themselves.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from precompute.errors import StoreError

from .files import unreadable, write_text

T = TypeVar("T")

RULES = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
"""For every record: an unknown field, another type, NaN and infinity are refused."""


class FileRecord(Protocol):
    """A record that is the whole content of a JSON file."""

    FILE_FORMAT: ClassVar[tuple[str, int]]
    """The file's ``kind``, and its ``format_version``: raised by every change of what is written."""


R = TypeVar("R", bound=FileRecord)


def to_json(record: object, *, indent: int | None = None) -> str:
    """Encode a record (dataclasses, tuples, mappings, plain values) as JSON."""
    plain = TypeAdapter(Any).dump_python(record, mode="json")
    return json.dumps(plain, ensure_ascii=False, indent=indent, allow_nan=False)


def write_json(path: Path, record: FileRecord) -> None:
    """Write a record as an indented JSON file with its header, whole or not at all."""
    write_text(path, file_text(record))


def file_text(record: FileRecord) -> str:
    """Encode a record as an indented JSON file with its header."""
    kind, version = record.FILE_FORMAT
    plain = TypeAdapter(Any).dump_python(record, mode="json")
    return to_json({"kind": kind, "format_version": version, **plain}, indent=1) + "\n"


def read_json(path: Path, kind: type[R], hint: str = "Delete it and run the same command again.") -> R:
    """Read a JSON file as a record of the given type.

    Parameters
    ----------
    path : Path
    kind : type
    hint : str
        What to do where the file cannot be used.

    Raises
    ------
    StoreError
        Missing, unreadable, of another kind or version, or a field is unknown, missing or has a wrong value.
    """
    try:
        read = adapter(with_header(kind)).validate_json(_read(path))
    except ValidationError as error:
        raise StoreError(f"{path} {_fault(error, kind)}. {hint}") from error
    return kind(**{field.name: getattr(read, field.name) for field in dataclasses.fields(kind)})  # type: ignore[arg-type]


def write_jsonl(path: Path, records: Sequence[object]) -> None:
    """Write records as JSON lines, whole or not at all."""
    write_text(path, "".join(to_json(record) + "\n" for record in records))


def read_jsonl(path: Path, kind: type[T], hint: str = "Delete the line and run the same command again.") -> list[T]:
    """Read JSON lines; a missing file is an empty list.

    Raises
    ------
    StoreError
        Unreadable, or a line is not a record of that type; names the line and the field.
    """
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(lines_of(_read(path)), start=1):
        try:
            records.append(adapter(kind).validate_json(line))
        except ValidationError as error:
            raise StoreError(f"{path}, line {number}, is damaged: {_first(error)}. {hint}") from error
    return records


def parse(value: object, kind: type[T]) -> T | None:
    """Read a record out of what JSON gave; None where it is no such record."""
    try:
        return adapter(kind).validate_json(json.dumps(value))
    except (ValidationError, TypeError, ValueError):
        return None


def find_fault(record: object) -> str:
    """Say why a record would be refused when it is read back, for what comes from a user's own code; empty if not."""
    try:
        adapter(type(record)).validate_json(to_json(record))
    except ValidationError as error:
        return _first(error)
    except ValueError as error:  # no JSON can say it: NaN, a NumPy number
        return str(error)
    return ""


def lines_of(content: bytes) -> list[bytes]:
    """Cut the content of a JSON Lines file into its lines."""
    # not splitlines(): text of a language model may hold U+2028 and its like, which JSON leaves as they are
    return content.removesuffix(b"\n").split(b"\n") if content else []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def _fault(error: ValidationError, kind: type[R]) -> str:
    name, version = kind.FILE_FORMAT
    for detail in error.errors(include_url=False):
        if detail["loc"] == ("kind",) and detail["type"] == "literal_error":
            return f"is no {name!r} file: its kind is {str(detail['input'])[:80]!r}"
        if detail["loc"] == ("format_version",):
            found = "none" if detail["type"] == "missing" else str(detail["input"])[:80]
            return f"has the format version {found}, this program reads version {version}"
    return f"is damaged: {_first(error)}"


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in detail["loc"]) or "the whole"
    if detail["type"] == "unexpected_keyword_argument":
        return f"the field {where!r} is unknown"
    shown = "" if isinstance(detail["input"], dict | list | bytes) else f", found {str(detail['input'])[:80]!r}"
    return f"{where}: {detail['msg']}{shown}"


# --- models ----------------------------------------------------------------------------------------------------


def adapter(kind: type[T]) -> TypeAdapter[T]:
    """Return the validator of a type, in which every record is held to `RULES`."""
    found: TypeAdapter[T] = _adapter(kind)  # type: ignore[arg-type]
    return found


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - any annotation
    for record in records_in(kind):
        record.__pydantic_config__ = RULES  # type: ignore[attr-defined] # so that records need not know pydantic
    return TypeAdapter(kind)


def records_in(kind: Any) -> Iterator[type]:  # noqa: ANN401 - any annotation
    """List the dataclasses that a type holds, itself included."""
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        yield kind
        for hint in typing.get_type_hints(kind).values():
            yield from records_in(hint)
    for argument in typing.get_args(kind):
        yield from records_in(argument)


def with_header(kind: type[R]) -> type[R]:
    """Return the type of a whole JSON file: the record's fields and its header."""
    made: type[R] = _with_header(kind)
    return made


@cache
def _with_header(kind: Any) -> Any:  # noqa: ANN401 - a type made here
    name, version = kind.FILE_FORMAT
    header = [("kind", Literal[name]), ("format_version", Literal[version])]
    made = dataclasses.make_dataclass(f"{kind.__name__}File", header, bases=(kind,), frozen=True, kw_only=True)
    made.__module__, made.__doc__ = kind.__module__, kind.__doc__
    return made


def json_schema(kind: Any) -> dict[str, Any]:  # noqa: ANN401 - any annotation
    """Return the JSON Schema of a type, of the whole file where it is a file's content."""
    whole = with_header(kind) if hasattr(kind, "FILE_FORMAT") else kind
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **adapter(whole).json_schema()}
