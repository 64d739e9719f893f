"""Which folders the program made, and what it may therefore replace or remove.

Owns the manifest that marks a made folder, the refusal of every other one, and replacing one folder by another. Only
files that a manifest lists are ever removed. Must not know what the files say.
"""

from __future__ import annotations

import ctypes
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from precompute.errors import OutputError

from .digests import digest_file
from .files import output_error, write_text

MANIFEST = "MANIFEST.sha256"
"""Lists every other file of a made folder with its SHA-256, in the form of ``sha256sum -c``; its first line says whose
folder it is."""

_HEAD = "# site made by concept-atlas for the atlas "
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_HERE = -100  # AT_FDCWD


def write_manifest(folder: Path, name: str) -> None:
    """Mark a folder as the site of the atlas `name`, with every file in it as it is now."""
    lines = [f"{_HEAD}{json.dumps(name)}\n"]
    for file in _files(folder):
        if file != MANIFEST:
            lines.append(f"{digest_file(folder / file)}  {file}\n")
    write_text(folder / MANIFEST, "".join(lines))


def read_manifest(folder: Path) -> tuple[str, dict[str, str]] | None:
    """Return whose site a folder is and the digests by file, the manifest's own left out; None where it is no site."""
    try:
        head, *lines = (folder / MANIFEST).read_text(encoding="utf-8").split("\n")
        name = json.loads(head.removeprefix(_HEAD)) if head.startswith(_HEAD) else None
    except (OSError, ValueError):
        return None
    if not isinstance(name, str):
        return None
    return name, {file: digest for digest, _, file in (line.partition("  ") for line in lines) if file}


def is_whole(folder: Path) -> bool:
    """Tell whether every file of a site is as its manifest says."""
    found = read_manifest(folder)
    return found is not None and all(
        (folder / file).is_file() and digest_file(folder / file) == digest for file, digest in found[1].items()
    )


def require_replaceable(folder: Path, name: str) -> None:
    """Make sure that a folder may be replaced by the site of the atlas `name`: missing, empty, or made for it before.

    Raises
    ------
    OutputError
        It is anything else; says what, and that nothing was changed.
    """
    reason = _reason_to_keep(folder, name)
    if reason:
        raise OutputError(
            f"will not put the site of the atlas {name!r} in place of {folder}: {reason}. Nothing was changed there. "
            "Choose a folder that is empty or not there yet with --site"
        )


def _reason_to_keep(folder: Path, name: str) -> str:
    """Say why a folder may not be replaced; empty where it may."""
    if folder.is_symlink():
        return f"it is a link, to {str(folder.readlink())!r}"
    if folder.exists() and not folder.is_dir():
        return "it is a file"
    try:
        if not folder.exists() or not any(folder.iterdir()):
            return ""
        foreign = _files(folder)
    except OSError as error:
        raise output_error(folder, error) from error
    found = read_manifest(folder)
    if found is None:
        return f"it is not empty, and no site that this version of the program made ({_some(foreign)})"
    if found[0] != name:
        return f"it is the site of another atlas, {found[0]!r}"
    foreign = [file for file in foreign if file not in found[1] and file != MANIFEST]
    return f"it holds what the program did not make ({_some(foreign)}); move that elsewhere" if foreign else ""


def _some(files: list[str]) -> str:
    shown = ", ".join(repr(file) for file in files[:3])
    return f"{shown} and {len(files) - 3} more files" if len(files) > 3 else shown or "only folders without files"


def _files(folder: Path) -> list[str]:
    """List everything below a folder that is no folder, links to folders included, by relative path with ``/``."""
    found = []
    for parent, folders, files in os.walk(folder, onerror=_raise):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        found += [(Path(parent) / name).relative_to(folder).as_posix() for name in [*files, *links]]
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error


@contextmanager
def replacing_site(output: Path, name: str) -> Iterator[Path]:
    """Yield an empty folder beside `output`; on success it is marked and takes its place, on failure it is removed.

    At every moment there is the whole old site or the whole new one, where the file system can exchange two folders.

    Raises
    ------
    OutputError
        `output` may not be replaced, no space, or no permission.
    """
    require_replaceable(output, name)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as scratch:
            new = Path(scratch) / "new"
            new.mkdir()
            yield new
            write_manifest(new, name)
            require_replaceable(output, name)
            _put_in_place(new, output, Path(scratch) / "old")
    except OSError as error:
        raise output_error(output, error) from error


def _put_in_place(new: Path, output: Path, old: Path) -> None:
    """Give the new site its place; where that fails, the old one stays or returns."""
    if not output.exists():
        new.replace(output)
        return
    if _exchange(new, output):
        return
    output.replace(old)
    try:
        new.replace(output)
    except OSError:
        old.replace(output)
        raise


def _exchange(left: Path, right: Path) -> bool:
    """Swap two folders in one step; False where the system cannot, and nothing has changed."""
    with suppress(OSError, AttributeError):
        call = ctypes.CDLL(None).renameat2  # Linux with glibc or musl; there is no wrapper in Python
        return bool(call(_HERE, os.fsencode(left), _HERE, os.fsencode(right), _EXCHANGE) == 0)
    return False
