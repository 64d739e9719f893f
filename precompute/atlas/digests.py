"""SHA-256 of values, of files and of packages: the one way in which the project says that two things are the same.

Owns how each is digested. Must not know what the digests are of.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib import resources
from pathlib import Path

from .files import unreadable

_SLICE = 1 << 22


def digest_bytes(content: bytes) -> str:
    """Compute the SHA-256 (hexadecimal) of bytes."""
    return hashlib.sha256(content).hexdigest()


def digest_of(value: object) -> str:
    """Compute the SHA-256 (hexadecimal) of a JSON-ready value."""
    return digest_bytes(json.dumps(value, sort_keys=True).encode())


def digest_file(path: Path) -> str:
    """Compute the SHA-256 (hexadecimal) of a file's content; once for a file that does not change.

    Raises
    ------
    StoreError
        It cannot be read.
    """
    try:
        status = path.stat()
        return _digest_file(path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    except OSError as error:
        raise unreadable(path, error) from error


@cache
def _digest_file(path: Path, *identity: int) -> str:
    del identity  # only tells one content of the path from another
    total = hashlib.sha256()
    with path.open("rb") as file:
        while content := file.read(_SLICE):
            total.update(content)
    return total.hexdigest()


def digest_package(package: str) -> str:
    """Compute the SHA-256 over the files of an installed package, so that a changed program makes its output anew."""
    total = hashlib.sha256()
    folder = Path(str(resources.files(package)))
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            total.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return total.hexdigest()
