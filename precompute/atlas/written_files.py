"""A folder of documents that people take, sign and put beside others: each is replaced only as it was written.

Owns the list of what was written there (``MANIFEST.sha256``, read by ``sha256sum --check``) and the refusal of every
other file. Must not know what the files say.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from precompute.errors import OutputError

from .digests import digest_bytes, digest_file
from .files import output_error, unreadable, write_bytes, write_text
from .ownership import HOLDER, LOCK, MANIFEST, holding, is_made, some, sweep_partials

_OTHER = "Nothing was changed there. Choose a folder that is empty or not there yet with --into"


class WrittenFiles:
    """The files of one folder; see `writing_into`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, set[str]] = {}
        for line in _lines(folder / MANIFEST):
            digest, _, name = line.partition("  ")
            if (folder / name).exists():  # what was moved away is nobody's concern any more
                self._known.setdefault(name, set()).add(digest)

    def require_free(self, name: str) -> None:
        """Refuse to replace a file that is no longer, or never was, what was written here.

        Raises
        ------
        OutputError
            Names the file.
        StoreError
            It cannot be read.
        """
        path = self.folder / name
        try:
            digest = digest_file(path) if path.exists() or path.is_symlink() else ""
        except OSError as error:
            raise unreadable(path, error) from error
        if digest and digest not in self._known.get(name, ()):
            raise OutputError(
                f"will not replace {path}: it is not as it was written here (signed, edited, or another file). Move it "
                "to another folder, or choose one with --into"
            )

    def write(self, name: str, content: bytes) -> Path:
        """Write a file, whole or not at all, and list it.

        Raises
        ------
        OutputError
            The file there is not as it was written; no space, no permission.
        """
        self.require_free(name)
        digest = digest_bytes(content)
        before = self._known.get(name, set())
        self._known[name] = before | {digest}  # a run that is killed in between knows either
        self._list()
        write_bytes(self.folder / name, content)
        if before - {digest}:
            self._known[name] = {digest}
            self._list()
        return self.folder / name

    def remove(self, name: str) -> None:
        """Remove a file that was written here, if it is there.

        Raises
        ------
        OutputError
            It is not as it was written; no permission.
        """
        self.require_free(name)
        path = self.folder / name
        if path.exists():
            try:
                path.unlink()  # before the list: a killed run leaves a line of no file, which is nobody's concern
            except OSError as error:
                raise output_error(path, error) from error
            del self._known[name]
            self._list()

    def _list(self) -> None:
        lines = [f"{digest}  {name}\n" for name, digests in sorted(self._known.items()) for digest in sorted(digests)]
        write_text(self.folder / MANIFEST, "".join(lines))


@contextmanager
def writing_into(folder: Path) -> Iterator[WrittenFiles]:
    """Make a folder or take over one of ours, hold it for this run alone, and sweep what killed runs left half-written.

    A folder that was made for nothing is removed again.

    Raises
    ------
    OutputError
        It holds what the program did not make, another run works there, no space, or no permission.
    """
    try:
        there = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
        if there and not is_made(folder):
            raise OutputError(
                f"will not put reports into {folder}: it is not empty, and the program did not make it "
                f"({some(there)}). {_OTHER}"
            )
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
    try:
        with holding(folder):
            sweep_partials(folder)
            try:
                yield WrittenFiles(folder)
            finally:
                if {path.name for path in folder.iterdir()} <= {LOCK, HOLDER}:
                    (folder / LOCK).unlink(missing_ok=True)
    finally:
        with suppress(OSError):
            folder.rmdir()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    except (OSError, ValueError) as error:
        raise OutputError(
            f"cannot read {path}, which lists what was written into the folder: {error}. Choose another with --into"
        ) from error
