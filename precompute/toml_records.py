"""TOML tables as frozen dataclasses, checked key by key with messages that say where and what would be right.

Owns the checking of keys, types and ranges, and the search for a key's line. Must not know which keys there are.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, cast

from precompute.errors import ConfigError

T = TypeVar("T")

_TYPE_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


class Origin(Protocol):
    """Where a value was written."""

    def describe(self, name: str) -> str:
        """Say where the key of the dotted name stands."""
        ...


@dataclass(frozen=True)
class FileOrigin:
    """A TOML file and its text."""

    path: Path
    text: str

    def describe(self, name: str) -> str:
        """Say file and line."""
        return f"{self.path}, line {find_line(self.text, name.split('.'))}"


@dataclass(frozen=True)
class CommandLineOrigin:
    """An override ``section.key=value``."""

    override: str

    def describe(self, name: str) -> str:
        """Say that it is on the command line."""
        return f"command line, {self.override!r}"


def find_line(text: str, keys: Sequence[str]) -> int:
    """Find the line (from 1) of a key: where the longest valid head of the document without the key ends."""
    lines = text.splitlines()
    line = 1
    for n_lines in range(len(lines) + 1):
        try:
            found: Any = tomllib.loads("\n".join(lines[:n_lines]))
        except tomllib.TOMLDecodeError:
            continue
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if found is not None:
            return line
        line = n_lines + 1
    return line


def parse_override(override: str) -> dict[str, Any]:
    """Read ``section.key=value`` as a nested table; a value that is not TOML is taken as text.

    Raises
    ------
    ConfigError
        There is no ``=`` or no key.
    """
    name, separator, text = (part.strip() for part in override.partition("="))
    if not separator or not all(name.split(".")):
        raise ConfigError(f"command line: {override!r} is not an override, write section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    for key in reversed(name.split(".")):
        value = {key: value}
    return cast("dict[str, Any]", value)


def merge(values: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Put nested `changes` into nested `values`."""
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            merge(values[key], value)
        else:
            values[key] = value


def construct(kind: type[T], values: Mapping[str, Any]) -> T:
    """Make the dataclass `kind` of checked nested values."""
    hints = typing.get_type_hints(kind)
    return kind(
        **{
            key: construct(hints[key], value) if dataclasses.is_dataclass(hints[key]) else value
            for key, value in values.items()
        }
    )


@dataclass(frozen=True)
class Schema:
    """What is allowed in a TOML document.

    Attributes
    ----------
    kind : type
        A dataclass; its dataclass fields are sections.
    ranges : mapping of str to (float, float)
        Inclusive bounds by dotted name; of each element where the value is an array.
    hidden : frozenset of str
        Fields that are not keys.
    """

    kind: type
    ranges: Mapping[str, tuple[float, float]]
    hidden: frozenset[str] = frozenset()

    def check(self, document: Mapping[str, Any], origin: Origin) -> dict[str, Any]:
        """Check a document and convert its values.

        Returns
        -------
        dict
            Nested; only what the document gives.

        Raises
        ------
        ConfigError
            Unknown key, wrong type, value not allowed or out of range.
        """
        return self._check_table(self.kind, document, "", origin)

    def _check_table(self, kind: type, table: Mapping[str, Any], prefix: str, origin: Origin) -> dict[str, Any]:
        hints = typing.get_type_hints(kind)
        values: dict[str, Any] = {}
        for key, value in table.items():
            name = prefix + key
            if key not in hints or name in self.hidden:
                raise ConfigError(f"{origin.describe(name)}: unknown key {name!r}{self._suggest(name)}")
            if not dataclasses.is_dataclass(hints[key]):
                values[key] = self._convert(hints[key], value, name, origin)
            elif isinstance(value, dict):
                values[key] = self._check_table(hints[key], value, f"{name}.", origin)
            else:
                raise ConfigError(f"{origin.describe(name)}: {name!r} is a section, write [{name}] and its keys below")
        return values

    def _convert(self, hint: object, value: object, name: str, origin: Origin) -> object:
        kind = typing.get_origin(hint)
        if kind is Literal:
            allowed = typing.get_args(hint)
            if value not in allowed:
                expected = "one of " + ", ".join(map(repr, allowed))
                raise _wrong(name, origin, expected, value, _nearest(value, allowed))
            return value
        if kind is tuple:
            return self._convert_array(typing.get_args(hint), value, name, origin)
        if kind is dict:
            if not isinstance(value, dict):
                raise _wrong(name, origin, "a table such as { key = 1 }", value)
            element = typing.get_args(hint)[1]
            return {key: self._convert(element, item, f"{name}.{key}", origin) for key, item in value.items()}
        kinds = typing.get_args(hint) if kind is types.UnionType else (hint,)
        return self._convert_scalar(kinds, value, name, origin)

    def _convert_array(self, elements: Sequence[Any], value: object, name: str, origin: Origin) -> tuple[object, ...]:
        length = None if elements[-1] is Ellipsis else len(elements)
        expected = f"an array of {_TYPE_NAMES[elements[0]]}" + (f" with {length} elements" if length else "")
        if not isinstance(value, list) or (length is not None and len(value) != length):
            raise _wrong(name, origin, expected, value)
        return tuple(self._convert(elements[0], item, name, origin) for item in value)

    def _convert_scalar(self, kinds: Sequence[type], value: object, name: str, origin: Origin) -> object:
        # Compared by exact type because bool is a kind of int in Python but never a number in a config.
        if type(value) is int and float in kinds and int not in kinds:
            value = float(value)
        if type(value) not in kinds:
            raise _wrong(name, origin, " or ".join(_TYPE_NAMES[kind] for kind in kinds), value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            low, high = self.ranges.get(name, (-math.inf, math.inf))
            if not (math.isfinite(value) and low <= value <= high):
                raise _wrong(name, origin, _describe_range(low, high), value)
        return value

    def _suggest(self, name: str) -> str:
        """Name the nearest right key: of the whole name, else of its last part in any section, else list them."""
        keys = self._names(self.kind, "")
        if nearest := difflib.get_close_matches(name, keys, n=1, cutoff=0.75):
            return f"; did you mean {nearest[0]!r}?"
        section, _, last = name.rpartition(".")
        by_last = {key.rpartition(".")[2]: key for key in keys}
        if nearest := difflib.get_close_matches(last, list(by_last), n=1, cutoff=0.7):
            return f"; did you mean {by_last[nearest[0]]!r}?"
        return f"; known keys: {', '.join(key for key in keys if key.rpartition('.')[0] == section)}"

    def _names(self, kind: type, prefix: str) -> list[str]:
        names = []
        for key, hint in typing.get_type_hints(kind).items():
            name = prefix + key
            if name not in self.hidden:
                names.append(name)
                names += self._names(cast("type", hint), f"{name}.") if dataclasses.is_dataclass(hint) else []
        return names


def _describe_range(low: float, high: float) -> str:
    if low == -math.inf:
        return "a finite number"
    return f"a number of at least {low:g}" if high == math.inf else f"a number from {low:g} to {high:g}"


def _wrong(name: str, origin: Origin, expected: str, value: object, hint: str = "") -> ConfigError:
    return ConfigError(f"{origin.describe(name)}: {name!r} must be {expected}, found {value!r}{hint}")


def _nearest(value: object, allowed: Sequence[Any]) -> str:
    found = difflib.get_close_matches(str(value), [str(item) for item in allowed], n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else ""
