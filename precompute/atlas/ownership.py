"""Which folders the program made, who works in them now, and what it may therefore replace or remove.

Owns the manifest that marks a site, the lock that marks an output folder, the refusal of every other folder, and the
removal of what a killed run left. Only what is marked is ever removed. Must not know what the files say.
"""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from precompute.errors import OutputError

from .digests import digest_file
from .files import PARTIAL, output_error, write_text

if sys.platform != "win32":
    import fcntl

MANIFEST = "MANIFEST.sha256"
"""Lists every other file of a site with its SHA-256, in the form of ``sha256sum -c``; its first lines say whose site it
is and what it was made from."""
LOCK = "LOCK"
"""Marks a folder as the program's; locked while a run works there."""

_SITE_OF = "# site made by concept-atlas for the atlas "
_MADE_FROM = "# made from "
_LOCK_TEXT = "This folder was made by concept-atlas, which locks this file while it works here.\n"
HOLDER = ".holder.json"
"""Says who holds the lock, for a message; lies beside it for as long."""
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_HERE = -100  # AT_FDCWD


# --- one run at a time ------------------------------------------------------------------------------------------


@contextmanager
def holding(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock of an existing folder that the program made; the system lets go of it whatever ends the process.

    Where the folder cannot be written, or its file system knows no locks, nothing is locked.

    Parameters
    ----------
    folder : Path
    shared : bool
        Others that share may work there at the same time.

    Raises
    ------
    OutputError
        Another run holds it; says which, and since when.
    """
    file = _open_lock(folder / LOCK)
    if file is None:
        yield
        return
    holder = folder / HOLDER
    try:
        _lock(file, folder, shared=shared)
        try:
            with suppress(OSError):  # it is only for a message
                holder.write_text(json.dumps(_this_run()) + "\n", encoding="utf-8")
            yield
        finally:
            with suppress(OSError):
                holder.unlink(missing_ok=True)
    finally:
        os.close(file)


def _open_lock(path: Path) -> int | None:
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        if not os.fstat(file).st_size:
            os.write(file, _LOCK_TEXT.encode())
    except OSError:
        try:
            return os.open(path, os.O_RDONLY)  # in a folder that may not be written a lock still works
        except OSError:
            return None
    return file


def _lock(file: int, folder: Path, *, shared: bool) -> None:
    if sys.platform == "win32":
        return
    in_use = OutputError(
        f"{folder} is in use by another run{_holder(folder)}. Wait until it ends or stop it, then run the same "
        "command again."
    )
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise in_use from None
    except OSError:
        return  # a network drive without locks
    if not (folder / LOCK).exists() or not os.path.samestat(os.fstat(file), (folder / LOCK).stat()):
        raise in_use  # it ended and removed the file between the two steps


def _this_run() -> dict[str, str | int]:
    return {
        "command": shlex.join(["atlas", *sys.argv[1:]]),
        "process": os.getpid(),
        "machine": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(sep=" ", timespec="seconds"),
    }


def _holder(folder: Path) -> str:
    """Say who holds a folder, as far as it is known."""
    try:
        found = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        return f": `{found['command']}`, process {found['process']} on {found['machine']}, since {found['since']}"
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def is_made(folder: Path) -> bool:
    """Tell whether a folder carries the program's mark; empty where a run was killed before it wrote the text."""
    try:
        return (folder / LOCK).read_text(encoding="utf-8") in (_LOCK_TEXT, "")
    except (OSError, ValueError):
        return False


def sweep_partials(folder: Path) -> None:
    """Remove the half-written files of killed runs below a folder that this run holds alone."""
    for parent, _, files in os.walk(folder):
        for name in filter(PARTIAL.fullmatch, files):
            with suppress(OSError):
                (Path(parent) / name).unlink()


def remove_files(folder: Path, files: Sequence[str]) -> None:
    """Remove these files below a folder, by relative path, and the folders that are empty then.

    Raises
    ------
    OutputError
        No permission.
    """
    try:
        for file in files:
            (folder / file).unlink(missing_ok=True)
        parents = {parent for file in files for parent in (folder / file).parents if parent.is_relative_to(folder)}
        for parent in sorted(parents, key=lambda path: -len(path.parts)):
            with suppress(OSError):
                parent.rmdir()
    except OSError as error:
        raise output_error(folder, error) from error


# --- sites ------------------------------------------------------------------------------------------------------


class SiteMark(NamedTuple):
    """What a site says of itself.

    Attributes
    ----------
    name : str
        Of its atlas: it only takes the place of a site of the same name.
    made_from : str
        Digest of everything that it was made from.
    """

    name: str
    made_from: str = ""


def write_manifest(folder: Path, mark: SiteMark) -> None:
    """Mark a folder as a site, with every file in it as it is now."""
    lines = [f"{_SITE_OF}{json.dumps(mark.name)}\n", f"{_MADE_FROM}{mark.made_from}\n"]
    for file in list_files(folder):
        if file != MANIFEST:
            lines.append(f"{digest_file(folder / file)}  {file}\n")
    write_text(folder / MANIFEST, "".join(lines))


def read_manifest(folder: Path) -> tuple[SiteMark, dict[str, str]] | None:
    """Return the mark of a site and the digests by file, the manifest's own left out; None where it is no site."""
    try:
        first, second, *lines = (folder / MANIFEST).read_text(encoding="utf-8").split("\n")
        name = json.loads(first.removeprefix(_SITE_OF)) if first.startswith(_SITE_OF) else None
    except (OSError, ValueError):
        return None
    if not isinstance(name, str):
        return None
    digests = {file: digest for digest, _, file in (line.partition("  ") for line in lines) if file}
    return SiteMark(name, second.removeprefix(_MADE_FROM)), digests


def has_mark(folder: Path, mark: SiteMark) -> bool:
    """Tell whether a folder is the site of that mark, with no file missing."""
    found = read_manifest(folder)
    return found is not None and found[0] == mark and all((folder / file).is_file() for file in found[1])


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


def remove_site(folder: Path, name: str) -> bool:
    """Remove the site of the atlas `name`; returns whether there was one.

    Raises
    ------
    OutputError
        It is anything else, or no permission.
    """
    if not folder.exists() and not folder.is_symlink():
        return False
    require_replaceable(folder, name)
    with _scratch(folder):
        pass  # sweeps what a killed run left
    remove_files(folder, list_files(folder))
    return True


def _reason_to_keep(folder: Path, name: str) -> str:
    """Say why a folder may not be replaced; empty where it may."""
    if folder.is_symlink():
        return f"it is a link, to {str(folder.readlink())!r}"
    if folder.exists() and not folder.is_dir():
        return "it is a file"
    try:
        if not folder.exists() or not any(folder.iterdir()):
            return ""
        foreign = list_files(folder)
    except OSError as error:
        raise output_error(folder, error) from error
    found = read_manifest(folder)
    if found is None:
        return f"it is not empty, and no site that this version of the program made ({some(foreign)})"
    if found[0].name != name:
        return f"it is the site of another atlas, {found[0].name!r}"
    foreign = [file for file in foreign if file not in found[1] and file != MANIFEST]
    return f"it holds what the program did not make ({some(foreign)}); move that elsewhere" if foreign else ""


def some(files: Sequence[str]) -> str:
    """Name the first few files, for a message."""
    shown = ", ".join(repr(file) for file in files[:3])
    return f"{shown} and {len(files) - 3} more files" if len(files) > 3 else shown or "only folders without files"


def list_files(folder: Path) -> list[str]:
    """List everything below a folder that is no folder, links to folders included, by relative path with ``/``."""
    found = []
    for parent, folders, files in os.walk(folder, onerror=_raise):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        found += [(Path(parent) / name).relative_to(folder).as_posix() for name in [*files, *links]]
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error


@contextmanager
def replacing_site(output: Path, mark: SiteMark) -> Iterator[Path]:
    """Yield an empty folder; on success it is marked and takes the place of `output`, on failure it is removed.

    At every moment there is the whole old site or the whole new one, where the system can exchange two folders; where
    it cannot, a kill between two renames leaves the old one aside, and the next run brings it back. The folder that is
    yielded lies alone in one that is removed at the end too.

    Raises
    ------
    OutputError
        `output` may not be replaced or another run is replacing it, no space, or no permission.
    """
    require_replaceable(output, mark.name)
    try:
        with _scratch(output) as scratch:
            new = scratch / "new"
            new.mkdir()
            yield new
            write_manifest(new, mark)
            require_replaceable(output, mark.name)
            _put_in_place(new, output, scratch / "old")
    except OSError as error:
        raise output_error(output, error) from error


def sweep_scratch(output: Path) -> None:
    """Remove what a run that was killed as it ended left beside a site that is kept, unless another run works there."""
    scratch = _scratch_of(output)
    if scratch.is_dir() and (is_made(scratch) or not any(scratch.iterdir())):
        with suppress(OutputError), _scratch(output):
            pass


def _scratch_of(output: Path) -> Path:
    return output.with_name(f".{output.name}.making")


@contextmanager
def _scratch(output: Path) -> Iterator[Path]:
    """Hold a marked folder beside `output`, free of what a killed run left there; removed at the end."""
    scratch = _scratch_of(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        scratch.mkdir(exist_ok=True)
        if any(scratch.iterdir()) and not is_made(scratch):
            raise OutputError(
                f"{scratch}, where the site is made, holds what the program did not make. Move it away, then run the "
                "same command again."
            )
        with holding(scratch):
            if (scratch / "old").exists() and not output.exists():
                (scratch / "old").replace(output)
            _empty(scratch)
            try:
                yield scratch
            finally:
                _empty(scratch)
                (scratch / HOLDER).unlink(missing_ok=True)
                (scratch / LOCK).unlink(missing_ok=True)  # last: what lies in a folder without it is nobody's
                scratch.rmdir()
    except OSError as error:
        raise output_error(output, error) from error


def _empty(scratch: Path) -> None:
    for child in scratch.iterdir():
        if child.is_dir():
            shutil.rmtree(child)


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
