"""Archives of images (tar, compressed or not, tar of tars, zip): what lies in them and how to read one member.

Owns the check that an archive is whole, before anything of it is used, and the unpacking of compressed ones. Must not
know labels or what an image is.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from precompute.atlas.files import output_error, replacing
from precompute.errors import DataError

_CODECS = {b"\x1f\x8b": gzip, b"BZh": bz2, b"\xfd7zXZ": lzma}
"""What reads a compressed file, by its first bytes."""

_OTHERS = {
    b"\x28\xb5\x2f\xfd": "zstd (unpack it with `zstd -d`)",
    b"7z\xbc\xaf": "7z (unpack it with `7z x`)",
    b"Rar!": "RAR (unpack it with `unrar x`)",
}
"""What cannot be read, by its first bytes."""

_BLOCK = 512
_MAX_HEADER = 1 << 24
"""No header of a tar (a name, its attributes) is longer; a larger one would be read into memory at once."""
_SMALL = 64 << 20
"""An archive that unpacks to no more is not asked how much it grew."""

_UNPACK = "Get it again; if none is whole, unpack it, look at what came out, and give dataset.root that folder"


class Place(NamedTuple):
    """Where the bytes of one member lie.

    Attributes
    ----------
    path : Path
        The archive, or its unpacked copy.
    offset, n_bytes : int
        As stored.
    size : int
        Of the member itself.
    checksum : int or None
        CRC-32 of the member, where the archive has it.
    is_deflated : bool
    """

    path: Path
    offset: int
    n_bytes: int
    size: int
    checksum: int | None = None
    is_deflated: bool = False

    def read(self) -> bytes:
        """Read one member, without reading the archive's other members.

        Raises
        ------
        OSError
            The archive cannot be read any more.
        DataError
            The member is damaged; the message is the reason alone.
        """
        # Opened each time: a file position shared with another process would be moved by it.
        with self.path.open("rb") as file:
            file.seek(self.offset)
            content = file.read(self.n_bytes)
        if self.is_deflated:
            content = self._inflate(content)
        if len(content) != self.size:
            raise DataError(f"damaged in the archive: {len(content)} bytes of {self.size}")
        if self.checksum is not None and zlib.crc32(content) != self.checksum:
            raise DataError("damaged in the archive: its checksum does not fit")
        return content

    def _inflate(self, content: bytes) -> bytes:
        try:
            # never more than the archive says, whatever the bytes would unpack to
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, self.size + 1)
        except zlib.error as error:
            raise DataError(f"damaged in the archive: {error}") from error


class Member(NamedTuple):
    """One file in an archive; `modified` is the archive's, in nanoseconds."""

    name: str
    place: Place
    modified: int


def list_archive(path: Path, cache: Path, max_ratio: float) -> list[Member]:
    """List the files in an archive; a compressed tar is unpacked into the `cache` folder, once.

    Parameters
    ----------
    path : Path
    cache : Path
    max_ratio : float
        How much larger the contents may be than the archive, ``dataset.max_unpacked_ratio``.

    Returns
    -------
    list of Member
        In the order of the archive. The members of tars in a tar lie below a folder of the inner tar's name.

    Raises
    ------
    DataError
        The archive is missing, damaged anywhere, cut off, or holds what cannot be a file of a data set: a link, a
        device, a sparse file, the same name twice, a name that leads out of it. Nothing of it is used then.
    OutputError
        No space to unpack it.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
        modified = path.stat().st_mtime_ns
    except OSError as error:
        raise DataError(f"cannot read the archive {path}: {error.strerror} (dataset.root)") from error
    for magic, what in _OTHERS.items():
        if start.startswith(magic):
            raise DataError(f"cannot read the archive {path}: it is packed by {what}")
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        members = _list_zip(path, modified, max_ratio)
    elif _codec_of(path) is None:
        members = _list_tar(path, path, modified)
    else:
        members = _list_compressed(path, cache, modified, max_ratio)
    return members


def _check_names(path: Path, members: list[Member]) -> None:
    seen: set[str] = set()
    for member in members:
        if member.name in seen:
            raise DataError(
                f"the archive {path} holds {member.name!r} twice, and which is meant it does not say. Unpack it (the "
                "later one stays) and give dataset.root that folder, or pack it anew."
            )
        seen.add(member.name)


def _safe_name(name: str, path: Path) -> str:
    """Return a name without empty parts; raises DataError where it leads out of the archive."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise DataError(
            f"the archive {path} holds {name!r}, a name that leads out of it. Pack it anew from inside the data set's "
            "folder (`tar -C FOLDER -cf NEW.tar .`)."
        )
    return "/".join(part for part in parts if part not in ("", "."))


# --- tar -------------------------------------------------------------------------------------------------------


class _Window:
    """A stretch of a file as a file of its own, as far as `tarfile` needs one; refuses to read headers of any size."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._start, self.size, self._position = file, start, size, 0

    def seek(self, position: int) -> int:
        self._position = position
        return position

    def tell(self) -> int:
        return self._position

    def read(self, n_bytes: int = -1) -> bytes:
        left = max(self.size - self._position, 0)
        n_bytes = left if n_bytes < 0 else min(n_bytes, left)
        if n_bytes > _MAX_HEADER:
            raise tarfile.ReadError(f"a header of {n_bytes} bytes")
        self._file.seek(self._start + self._position)
        content = self._file.read(n_bytes)
        self._position += len(content)
        return content


def _list_tar(plain: Path, path: Path, modified: int) -> list[Member]:
    """List an uncompressed tar, the archive itself or its unpacked copy, and the tars that lie in it."""
    members = []
    try:
        with plain.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            for name, offset, n_bytes in _walk_tar(_Window(file, 0, size), path):
                if not name.lower().endswith(".tar"):
                    members.append(Member(name, Place(plain, offset, n_bytes, n_bytes), modified))
                    continue
                folder, inside = name[: -len(".tar")], Path(f"{path} ({name})")
                for inner, start, n_inner in _walk_tar(_Window(file, offset, n_bytes), inside):
                    place = Place(plain, offset + start, n_inner, n_inner)
                    members.append(Member(f"{folder}/{inner}", place, modified))
        _check_names(path, members)
    except OSError as error:
        raise DataError(f"cannot read the archive {path}: {error.strerror or error}") from error
    return members


def _walk_tar(window: _Window, path: Path) -> Iterator[tuple[str, int, int]]:
    """Iterate over name, offset and size of the files in a tar, then check that this was all of it."""
    end = -1
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", window), mode="r:", errors="surrogateescape") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # a million of them are not kept
                if member.isdir():
                    continue
                _check_member(member, window, path)
                yield _safe_name(member.name, path), member.offset_data, member.size
            end = archive.offset
    except (DataError, OSError):
        raise
    except Exception as error:  # tarfile raises anything on a damaged header
        raise DataError(f"cannot read the archive {path}: {error or 'damaged'}. {_UNPACK}.") from error
    _check_end(window, end, path)


def _check_member(member: tarfile.TarInfo, window: _Window, path: Path) -> None:
    name = member.name
    if member.issym() or member.islnk():
        raise DataError(
            f"the archive {path} holds the link {name!r} to {member.linkname!r}, not a file. Pack it anew with the "
            "files themselves (`tar --dereference --hard-dereference`), or unpack it and give dataset.root that folder."
        )
    if member.issparse() or not member.isreg():
        what = "a sparse file" if member.issparse() else "neither a file nor a folder"
        raise DataError(f"the archive {path} holds {name!r}, {what}. Pack it anew without it (`tar --exclude`).")
    if member.size < 0 or member.offset_data + member.size > window.size:
        raise DataError(
            f"the archive {path} is cut off: {name!r} should have {member.size} bytes, and "
            f"{max(window.size - member.offset_data, 0)} are left. {_UNPACK}."
        )


def _check_end(window: _Window, end: int, path: Path) -> None:
    """Check that what follows the last member is the end: two blocks of zeros, and nothing else behind them.

    A damaged header ends the listing too, in silence.
    """
    window.seek(end)
    mark = window.read(2 * _BLOCK)
    if len(mark) < 2 * _BLOCK or any(mark):
        what = "it ends without the mark of its end" if not any(mark) else f"damaged at byte {end}, in a file's header"
        raise DataError(f"the archive {path} is damaged or cut off: {what}. {_UNPACK}.")
    while block := window.read(1 << 20):
        if any(block):
            raise DataError(
                f"the archive {path} goes on behind its end (byte {end}): several archives were joined. Give each to "
                "`tar -xf` and dataset.root the folder, or join them with `tar --concatenate`."
            )


# --- compressed tar --------------------------------------------------------------------------------------------


def _codec_of(path: Path) -> object | None:
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError:
        return None
    return next((codec for magic, codec in _CODECS.items() if start.startswith(magic)), None)


def _list_compressed(path: Path, cache: Path, modified: int, max_ratio: float) -> list[Member]:
    """Unpack a compressed tar into the cache, whole or not at all, and list it."""
    status = path.stat()
    key = hashlib.sha256(f"{path.name} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()[:16]
    plain = cache / f"{path.name.partition('.')[0][:80]}-{key}.tar"
    if not plain.exists():
        _unpack_whole(path, plain, modified, max_ratio)
    return _list_tar(plain, path, modified)


def _unpack_whole(path: Path, plain: Path, modified: int, max_ratio: float) -> None:
    size = path.stat().st_size
    opener = cast("Callable[..., IO[bytes]]", getattr(_codec_of(path), "open"))  # noqa: B009
    with replacing(plain) as partial, partial.open("wb") as file:
        free = shutil.disk_usage(plain.parent).free
        with opener(path) as packed:
            written = 0
            for block in _blocks(packed, path):
                written += len(block)
                if written > max(_SMALL, max_ratio * size):
                    raise DataError(
                        f"the archive {path} of {size / 1e6:.1f} MB unpacks to more than {max_ratio:g} times that, as "
                        "archives of photos never do; nothing of it was kept. If it is right, raise "
                        "dataset.max_unpacked_ratio."
                    )
                if written > free:
                    raise output_error(plain, OSError(28, os.strerror(28)))
                file.write(block)
        file.flush()
        _list_tar(partial, path, modified)  # what is not whole does not get into the cache


def _blocks(packed: IO[bytes], path: Path) -> Iterator[bytes]:
    while True:
        try:
            block = packed.read(1 << 20)
        except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
            raise DataError(f"the archive {path} is damaged or truncated: {error}. {_UNPACK}.") from error
        if not block:
            return
        yield block


# --- zip -------------------------------------------------------------------------------------------------------

_ZIP_HEADER = 30
_ENCRYPTED = 1
_UTF8 = 0x800


def _list_zip(path: Path, modified: int, max_ratio: float) -> list[Member]:
    members = []
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            for info in archive.infolist():
                if info.is_dir():
                    continue
                _check_zip_member(info, path)
                place = _zip_place(file, info, path)
                members.append(Member(_safe_name(info.filename, path), place, modified))
    except DataError:
        raise
    except Exception as error:  # zipfile raises anything on damage
        raise DataError(f"cannot read the archive {path}: {error or 'damaged'}. {_UNPACK}.") from error
    _check_names(path, members)
    _check_sizes(path, members, max_ratio)
    return members


def _check_zip_member(info: zipfile.ZipInfo, path: Path) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise DataError(f"the archive {path} holds {info.filename!r}, a link or device. Pack the files themselves.")
    if "\\" in info.filename:
        raise DataError(
            f"the archive {path} writes its folders with backslashes ({info.filename!r}), as some programs of Windows "
            "do: unpack it with `unzip`, which knows that, and give dataset.root the folder"
        )
    if info.flag_bits & _ENCRYPTED:
        raise DataError(
            f"the archive {path} is encrypted ({info.filename!r}): unpack it and give dataset.root the folder"
        )
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"the archive {path} packs {info.filename!r} by method {info.compress_type}; expected stored or deflated. "
            "Unpack it and give dataset.root the folder."
        )


def _zip_place(file: IO[bytes], info: zipfile.ZipInfo, path: Path) -> Place:
    """Find the bytes of a member behind its local header."""
    file.seek(info.header_offset)
    header = file.read(_ZIP_HEADER)
    if len(header) < _ZIP_HEADER or not header.startswith(b"PK\x03\x04"):
        raise DataError(f"the archive {path} is damaged: there is no {info.filename!r} at byte {info.header_offset}")
    n_name = int.from_bytes(header[26:28], "little")
    name = info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")
    if file.read(n_name) != name:  # both have it, and nothing else tells that a letter of one was damaged
        raise DataError(
            f"the archive {path} is damaged: a file is called {info.filename!r} in its list alone. {_UNPACK}."
        )
    offset = info.header_offset + _ZIP_HEADER + n_name + int.from_bytes(header[28:30], "little")
    is_deflated = info.compress_type == zipfile.ZIP_DEFLATED
    return Place(path, offset, info.compress_size, info.file_size, info.CRC, is_deflated)


def _check_sizes(path: Path, members: list[Member], max_ratio: float) -> None:
    """Refuse members that lie over one another, lie outside, or grow too much: a bomb, not a data set."""
    places = sorted((member.place for member in members), key=lambda place: place.offset)
    size = path.stat().st_size
    ends = [place.offset + place.n_bytes for place in places]
    starts = [place.offset for place in places[1:]] + [size]
    if any(end > start for end, start in zip(ends, starts, strict=False)):
        raise DataError(f"the archive {path} is damaged: its members lie over one another or outside of it. {_UNPACK}.")
    total = sum(place.size for place in places)
    if total > max(_SMALL, max_ratio * size):
        raise DataError(
            f"the archive {path} of {size / 1e6:.1f} MB would unpack to {total / 1e6:.0f} MB, more than {max_ratio:g} "
            "times that. If it is right, raise dataset.max_unpacked_ratio."
        )
