"""Where a result comes from: versions, digests, the date.

Owns what goes into every output about its making. Must not know the stages.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from precompute.config import NOT_KEYS, Config
from precompute.errors import ConfigError

PACKAGES = ("concept-atlas", "torch", "torchvision", "zennit", "zennit-crp", "h5py", "numpy", "pillow")

LAST_EPOCH = 2**32
"""From here on the seconds do not fit the formats that carry them."""


def digest_of(parts: Iterable[object]) -> str:
    """Compute the SHA-256 (hexadecimal) of JSON-ready parts."""
    return hashlib.sha256(json.dumps(list(parts), sort_keys=True).encode()).hexdigest()


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


def digest_package(package: str) -> str:
    """Compute the SHA-256 over the files of an installed package, so that a changed program makes its output anew."""
    total = hashlib.sha256()
    folder = Path(str(resources.files(package)))
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            total.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return total.hexdigest()


def config_record(config: Config) -> dict[str, Any]:
    """Return the config as JSON-ready values, without the place where it lies."""
    values = {key: value for key, value in asdict(config).items() if key not in NOT_KEYS}
    loaded: dict[str, Any] = json.loads(json.dumps(values))
    return loaded


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
