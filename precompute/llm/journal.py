"""The journal of replies: an append-only file of JSON lines that survives being killed at any moment.

Owns locking, appending and reading back; a torn last line is cut away, everything before it counts. It is the reply
cache too: a request with a complete reply is never sent again. Must not know what the replies mean.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from precompute.atlas.digests import digest_of
from precompute.atlas.files import output_error
from precompute.atlas.json_records import adapter, to_json
from precompute.errors import NamerError, StoreError

from .reply import MAX_TOKENS, Reply

if sys.platform != "win32":
    import fcntl

SYNC_EVERY = 64
"""Lines between two fsyncs: a kill loses nothing, a power cut at most these."""


@dataclass(frozen=True)
class Entry:
    """One line of the journal.

    Attributes
    ----------
    digest : str
        Of the request; empty for tokens lost on a call without a usable answer.
    task, model : str
    reply : Reply
    check : str
        Digest of the others as they were written, so that a damaged reply is never taken for what was said; empty for
        an entry that is not written yet.
    """

    digest: str
    task: str
    model: str
    reply: Reply
    check: str = ""

    def sealed(self) -> Entry:
        """Return the entry with its check."""
        return replace(self, check=digest_of(asdict(replace(self, check="")))[:16])


_ENTRY = adapter(Entry)


class Journal:
    """Complete replies by the digest of their request.

    Parameters
    ----------
    path : Path
        Made on first use, with its folder.

    Raises
    ------
    NamerError
        Another process writes to it.
    StoreError
        A line other than the last is damaged.
    OutputError
        No space, no permission.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self._replies: dict[str, Entry] = {}
        self._file: int | None = None
        self._unsynced = 0

    def __del__(self) -> None:
        if self._file is not None:
            os.close(self._file)

    def __contains__(self, digest: str) -> bool:
        self.open()
        return digest in self._replies

    def get(self, digest: str) -> Reply | None:
        """Return the reply to a request, None where there is none yet."""
        self.open()
        entry = self._replies.get(digest)
        return entry.reply if entry else None

    def append(self, entry: Entry) -> None:
        """Write one line at the end; it counts as soon as this returns."""
        file = self.open()
        line = (to_json(entry.sealed()) + "\n").encode()
        try:
            while line:
                line = line[os.write(file, line) :]
            self._unsynced += 1
            if self._unsynced >= SYNC_EVERY:
                os.fsync(file)
                self._unsynced = 0
        except OSError as error:
            raise output_error(self.path, error) from error
        self._remember(entry)

    def open(self) -> int:
        """Lock and read the file where that has not been done, and return its descriptor."""
        if self._file is None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            except OSError as error:
                raise output_error(self.path, error) from error
            try:
                self._lock(file)
                self._read(file)
            except BaseException:
                os.close(file)
                raise
            self._file = file
        return self._file

    def close(self) -> None:
        """Write through to the disk and let go of the lock; the journal opens again when used."""
        if self._file is not None:
            os.fsync(self._file)
            os.close(self._file)
            self._file = None

    def _lock(self, file: int) -> None:
        if sys.platform == "win32":
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise NamerError(
                f"{self.path} is in use by another run. Wait until it ends, then run the same command again."
            ) from None

    def _read(self, file: int) -> None:
        self.entries, self._replies = [], {}
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):  # a torn last line: the process was killed while writing it
            os.ftruncate(file, whole)
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                entry = _ENTRY.validate_json(line)
                if entry != entry.sealed():
                    raise ValueError("not as it was written")
                self._remember(entry)
            except ValueError:  # pydantic's is one
                raise StoreError(
                    f"{self.path}, line {number}, is damaged: not an entry of the journal. "
                    "Delete the line and run the same command again; only that reply is asked for again."
                ) from None

    def _remember(self, entry: Entry) -> None:
        self.entries.append(entry)
        if entry.digest:
            self._replies[entry.digest] = entry


def spent_tokens(entry: Entry) -> tuple[int, int]:
    """Return the input and output tokens that an entry cost, within what can be; 0 where the server did not say."""
    n_input, n_output = (min(max(n, 0), MAX_TOKENS) for n in (entry.reply.input_tokens, entry.reply.output_tokens))
    return n_input, n_output
