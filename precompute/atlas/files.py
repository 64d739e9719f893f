"""Whole files, written atomically: the only way in which the project writes.

Owns temporary names, fsync and rename, and turns "no space" and "no permission" into one clear message.
Must not know what is in the files, HDF5 included.
"""

from __future__ import annotations

import errno
import io
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from precompute.errors import OutputError, StoreError

_ANOTHER_FOLDER = "choose another folder with --output (the site: --site)"
_CLOSE = "Another program has it open: close it (a notebook, a viewer, another run), then run the same command again."
_NO_LOCKS = (
    "The file system cannot lock files, as some network drives cannot: run `export HDF5_USE_FILE_LOCKING=FALSE` and "
    f"the same command again, or {_ANOTHER_FOLDER} on a local disk."
)
_DEVICE = (
    "The disk or its connection failed: the file itself may be whole. Check the disk, then run the same command again."
)
_REMEDIES = {
    **dict.fromkeys((errno.EAGAIN, errno.EDEADLK, errno.EBUSY, errno.ETXTBSY), _CLOSE),
    **dict.fromkeys((errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP), _NO_LOCKS),
    **dict.fromkeys((errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV, errno.ETIMEDOUT), _DEVICE),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM),
        f"You may not: check the permissions and the owner of the file and its folder, or {_ANOTHER_FOLDER}.",
    ),
    errno.EROFS: f"The file system is read-only: {_ANOTHER_FOLDER}.",
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), f"Free some space, or {_ANOTHER_FOLDER}."),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "Too many files are open: run `ulimit -n 4096` and try again."),
    **dict.fromkeys((errno.ENAMETOOLONG, errno.EINVAL), f"The name cannot be used there: {_ANOTHER_FOLDER}."),
    **dict.fromkeys((errno.ENOTDIR, errno.EISDIR, errno.EEXIST), f"Something else lies there: {_ANOTHER_FOLDER}."),
    errno.ELOOP: "Its links lead in a circle: mend them.",
    errno.ENOENT: "It is not there: check the name.",
}
"""What helps, by the number of the system's refusal; a refusal says nothing about what the file holds."""


def explain_refusal(error: OSError) -> str:
    """Say why the operating system refused, in its own words, and what helps."""
    if error.errno is None:
        return f"{error}. Check the disk, then run the same command again."
    # h5py puts its own long text where the system's would be
    return f"{os.strerror(error.errno)}. {_REMEDIES.get(error.errno, 'Run the same command again.')}"


PARTIAL = re.compile(r"\..+\.[0-9a-f]{8}\.partial")
"""The name of a file that is being written, or that a killed run was writing."""


def output_error(path: Path, error: OSError) -> OutputError:
    """Turn the operating system's refusal to write `path` into a message for the user."""
    return OutputError(f"cannot write {path}: {explain_refusal(error)} Nothing of it was kept.")


def unreadable(path: Path, error: OSError) -> StoreError:
    """Turn the operating system's refusal to read `path` into a message that blames the system and not the file."""
    return StoreError(f"cannot read {path}: {explain_refusal(error)}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success fsync and rename it there, on failure remove it.

    Raises
    ------
    OutputError
        No space, no permission, or the folder cannot be made.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


class DeferredErrorFile:
    """A file that keeps its first failure for later and swallows what is written after it.

    For a library that does not survive a full disk: HDF5 crashes the process when it cannot write a file's last blocks.

    Parameters
    ----------
    raw : file object
        Open for reading and writing, not buffered.
    """

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self.failure: BaseException | None = None
        self.seek, self.tell, self.read, self.readinto = raw.seek, raw.tell, raw.read, raw.readinto

    def write(self, content: memoryview) -> int:
        """Write all of it, or nothing any more."""
        rest = memoryview(content).cast("B")
        try:
            while len(rest) and self.failure is None:
                rest = rest[self._raw.write(rest) :]
        except BaseException as error:  # noqa: BLE001 - Ctrl-C too: HDF5 could not go on
            self.failure = error
        return len(content)

    def truncate(self, size: int) -> int:
        """Set the size; it may grow."""
        try:
            return self._raw.truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size

    def flush(self) -> None:
        """Do nothing: it is not buffered."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a UTF-8 file, whole or not at all."""
    write_bytes(path, content.encode())
