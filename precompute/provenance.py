"""Where a result comes from: versions, digests, the date.

Owns what goes into every output about its making. Must not know the stages.
"""

from __future__ import annotations

import os
import re
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from precompute.atlas.digests import digest_of
from precompute.config import NOT_KEYS, Config, effective, is_as_before
from precompute.errors import ConfigError

PACKAGES = ("concept-atlas", "torch", "torchvision", "zennit", "zennit-crp", "h5py", "numpy", "pillow")

LAST_EPOCH = 2**32
"""From here on the seconds do not fit the formats that carry them."""

GIVEN = "(given, not published)"
"""Stands in the published config for a text that may hold what is nobody's business."""

_WORD = "[A-Za-z0-9_-]{1,60}"
_WORD_OF_CLASS = "[a-z]{1,20}( [a-z]{1,20})?"
_DOTTED = r"[A-Za-z_][A-Za-z0-9_.]{0,120}"
_LAYER = r"[A-Za-z0-9_.*?!\[\]-]{1,200}"
PUBLIC_TEXTS = {
    "name": r"[A-Za-z0-9._-]+",
    "dataset.kind": f"{_WORD}|{_DOTTED}:{_DOTTED}",
    "dataset.classes": "imagenet",
    "dataset.shortcut_classes": _WORD_OF_CLASS,
    "model.factory": f"{_DOTTED}:{_DOTTED}",
    "model.weights": f"[A-Za-z0-9_]+|builtin:{_DOTTED}",
    "model.layers": _LAYER,
    "model.output": _WORD,
    "model.weights_key": _DOTTED,
    "relevance.rules": "epsilon|zplus|flat",
    "relevance.device": "auto|cpu|cuda(:[0-9]+)?",
    "references.heatmap_layers": _LAYER,
    "naming.namer": f"offline|recorded|{_DOTTED}:{_DOTTED}",
    "explaining.layers": _LAYER,
    "explaining.audiences": _WORD,
    "explaining.language": _WORD,
    "llm.key_variable": "OPENAI_API_KEY",
    "llm.model": r"[A-Za-z0-9][A-Za-z0-9._:-]*(/[A-Za-z0-9._:-]+)?",
    "site.title": r"(?s:.*)",
    "site.description": r"(?s:.*)",
    "report.audience": _WORD,
    "report.language": _WORD,
}
"""The form that a text of the config must have to be published, by its key; a key that is not here is not published."""


def today() -> str:
    """Return the ISO date (UTC) of now, or of SOURCE_DATE_EPOCH where that is set.

    Raises
    ------
    ConfigError
        SOURCE_DATE_EPOCH is no number of seconds.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        return datetime.now(UTC).date().isoformat()
    if not (re.fullmatch("[0-9]{1,10}", epoch) and int(epoch) < LAST_EPOCH):
        raise ConfigError(
            f"SOURCE_DATE_EPOCH is {epoch[:40]!r}, expected whole seconds since 1970, less than {LAST_EPOCH}; unset it "
            "or mend it"
        )
    return datetime.fromtimestamp(int(epoch), UTC).date().isoformat()


def package_versions() -> dict[str, str]:
    """Return the installed versions of the packages that results depend on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def config_digest(config: Config, *sections: str) -> str:
    """Compute the SHA-256 (hexadecimal) of the seed and the named sections, the keys without effect left out.

    Raises
    ------
    ConfigError
        There is no such section.
    """
    return digest_of(effective(config, *sections))


def config_record(config: Config) -> dict[str, Any]:
    """Return what may be published of a config, as JSON-ready values by section and key.

    Every value that cannot be more than a number, a switch or one of a few words is there. A text is there only where
    `PUBLIC_TEXTS` knows its key and its form; another one, a path above all, is told as given and no more: it may hold
    a folder's, a user's or a server's name, or a password.
    """
    return _public_record(config, "")


def _public_record(record: object, prefix: str) -> dict[str, Any]:
    hints = get_type_hints(type(record))
    found: dict[str, Any] = {}
    for item in fields(record):  # type: ignore[arg-type]
        key, value = f"{prefix}{item.name}", getattr(record, item.name)
        if is_dataclass(value):
            found[item.name] = _public_record(value, f"{key}.")
        elif key not in NOT_KEYS and not is_as_before(key, record):
            found[item.name] = _public(value, None if _is_closed(hints[item.name]) else PUBLIC_TEXTS.get(key, "(?!)"))
    return found


def _is_closed(hint: object) -> bool:
    """Tell whether a type has no texts but those of a list of words."""
    if get_origin(hint) is Literal:
        return True
    inner = [part for part in get_args(hint) if part is not Ellipsis]
    if get_origin(hint) is Annotated:
        return _is_closed(inner[0])
    return all(map(_is_closed, inner)) if inner else hint in (int, float, bool, NoneType)


def _public(value: object, form: str | None) -> object:
    """Return a value as far as it may be published: texts of the form, all where that is None."""
    if isinstance(value, dict):
        return {str(name): _public(item, form) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_public(item, form) for item in value]
    if isinstance(value, str) and value and form is not None and not re.fullmatch(form, value):
        return GIVEN
    return value


def first_difference(found: dict[str, Any], expected: dict[str, Any], prefix: str = "") -> str:
    """Name the first value in which two config records differ, for a message; empty where they agree."""
    for key in sorted(found.keys() | expected.keys()):
        left, right = found.get(key), expected.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            inner = first_difference(left, right, f"{prefix}{key}.")
            if inner:
                return inner
        elif left != right:
            return f"{prefix}{key} is {left!r} there and {right!r} here"
    return ""
