"""Where a result comes from: versions, digests, the date.

Owns what goes into every output about its making. Must not know the stages.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from precompute.atlas.digests import digest_of
from precompute.config import NOT_KEYS, Config, effective
from precompute.errors import ConfigError

PACKAGES = ("concept-atlas", "torch", "torchvision", "zennit", "zennit-crp", "h5py", "numpy", "pillow")


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
    try:
        return datetime.fromtimestamp(int(epoch), UTC).date().isoformat()
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigError(
            f"SOURCE_DATE_EPOCH is {epoch!r}, expected a number of seconds; unset it or mend it"
        ) from error


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
