"""The samples of a data set: which image files there are, what class each has, and how to read one again.

Owns the listing of folders, ground-truth lists and tar archives. Must not know models or batches.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, Protocol, cast

import numpy as np
import PIL.Image

from precompute.atlas.evenly import spread_evenly
from precompute.atlas.files import replacing
from precompute.atlas.records import EMPTY, IntArray
from precompute.errors import DataError

from .classes import ClassList
from .decoding import decode_image

IMAGE_SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif"])


_CODECS = {b"\x1f\x8b": gzip, b"BZh": bz2, b"\xfd7zXZ": lzma}
"""What reads a compressed file, by its first bytes."""


class Sample(NamedTuple):
    """One image file.

    Attributes
    ----------
    name : str
        With forward slashes.
    size : int
        In bytes.
    offset : int
        Where its bytes begin; 0 but in archives.
    modified : int
        When the file, or the archive, was last changed, in nanoseconds.
    """

    name: str
    size: int
    offset: int = 0
    modified: int = 0


class Source(Protocol):
    """Reads samples again; cheap to send to another process."""

    def read(self, index: int) -> bytes:
        """Read the bytes of one sample; raises OSError."""
        ...


@dataclass(frozen=True)
class FileSource:
    """Samples that are files: `paths` are below `root`."""

    root: Path
    paths: tuple[str, ...]

    def read(self, index: int) -> bytes:
        """Read one file."""
        return (self.root / self.paths[index]).read_bytes()


@dataclass(frozen=True)
class TarSource:
    """Samples that are members of an uncompressed tar archive: (offset, size) in bytes each."""

    path: Path
    places: tuple[tuple[int, int], ...]

    def read(self, index: int) -> bytes:
        """Read one member, without reading the archive's other members."""
        offset, size = self.places[index]
        # Opened each time: a file position shared with another process would be moved by it.
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(size)


@dataclass(frozen=True, eq=False)
class SampleSet:
    """Samples with labels; see `dataset.Dataset` for the meaning of the fields."""

    names: tuple[str, ...]
    labels: IntArray
    class_names: tuple[str, ...]
    digest: str
    source: Source
    max_megapixels: float
    modified: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def stamp(self, index: int) -> int:
        """Return when the file of one sample was last changed, in nanoseconds."""
        return self.modified[index]

    def load(self, index: int) -> PIL.Image.Image:
        """Read and decode one sample.

        Raises
        ------
        DataError
            The message is the reason.
        """
        try:
            content = self.source.read(index)
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror or error}") from error
        return decode_image(content, self.max_megapixels)


def list_folder(root: Path) -> list[Sample]:
    """List the image files below a folder, in the order of their names; links are followed, loops are not.

    Raises
    ------
    DataError
        The folder is missing, unreadable or holds no image.
    """
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataError(f"the image folder {root} {what}. Set dataset.root to the folder that holds the images.")
    try:
        samples = sorted(_walk(root, PurePosixPath(), frozenset()))
    except OSError as error:
        raise DataError(f"cannot list the image folder {error.filename or root}: {error.strerror}") from error
    if not samples:
        raise DataError(
            f"the image folder {root} holds no image file (known: {', '.join(sorted(IMAGE_SUFFIXES))}). "
            "Set dataset.root to the folder that holds the images."
        )
    return samples


def list_class_folders(root: Path) -> list[str]:
    """List the folders in a folder, but hidden ones and links back to where it lies itself."""
    above = {root.resolve(), *root.resolve().parents}
    return sorted(
        entry.name
        for entry in root.iterdir()
        if not entry.name.startswith(".") and entry.is_dir() and entry.resolve() not in above
    )


def list_tar(path: Path, cache: Path) -> tuple[Path, list[Sample]]:
    """List the images in a tar archive; a compressed one is unpacked into the `cache` folder, once.

    Returns
    -------
    path : Path
        The uncompressed archive.
    samples : list of Sample
        In the order of their names; a folder that holds everything is left out of the names.

    Raises
    ------
    DataError
        The archive is missing, damaged or holds no image.
    """
    plain = _uncompressed(path, cache)
    try:
        with tarfile.open(plain, "r:") as archive:
            members = [member for member in archive if member.isreg() and not member.issparse()]
        modified = path.stat().st_mtime_ns
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"cannot read the archive {path}: {error}") from error
    samples = []
    for member in members:
        name = PurePosixPath(*(part for part in PurePosixPath(member.name).parts if part not in (".", "/")))
        if _is_image(name.name):
            samples.append(Sample(str(name), member.size, member.offset_data, modified))
    if not samples:
        raise DataError(f"the archive {path} holds no image file")
    if len({sample.name.partition("/")[0] for sample in samples}) == 1 and all(
        sample.name.count("/") >= 2 for sample in samples
    ):
        samples = [sample._replace(name=sample.name.partition("/")[2]) for sample in samples]
    return plain, sorted(samples)


def label_by_folder(
    samples: Sequence[Sample], folders: Sequence[str], classes: ClassList | None, where: Path
) -> tuple[IntArray, tuple[str, ...]]:
    """Label samples by their first folder.

    Parameters
    ----------
    samples : sequence of Sample
    folders : sequence of str
        Class folders that exist, so that an empty one is found out.
    classes : ClassList or None
        None numbers the folders in the order of their names.
    where : Path
        For messages.

    Returns
    -------
    labels : (n_samples,) int64
    class_names : tuple of str

    Raises
    ------
    DataError
        There are no class folders, one is empty, or one is not in the class list.
    """
    found = {sample.name.partition("/")[0] for sample in samples if "/" in sample.name}
    if loose := [sample.name for sample in samples if "/" not in sample.name]:
        raise DataError(
            f"{where} has {len(loose)} images outside class folders, first {loose[0]!r}; expected one folder for each "
            "class. For a folder without classes set dataset.kind = 'unlabelled', for a list of labels 'flat'."
        )
    if empty := sorted(set(folders) - found):
        raise DataError(
            f"{where}: {len(empty)} class folder(s) hold no image: {', '.join(map(repr, empty[:5]))}"
            f"{', …' if len(empty) > 5 else ''}. Add their images or remove the folders."
        )
    ordered = sorted(found)
    indices = dict(zip(ordered, range(len(ordered)), strict=True))
    if classes is not None:
        indices = {folder: find_class(classes, folder, f"class folder {str(where / folder)!r}") for folder in ordered}
    labels = np.array([indices[sample.name.partition("/")[0]] for sample in samples], dtype=np.int64)
    return labels, classes.names if classes is not None else tuple(ordered)


def find_class(classes: ClassList, text: str, where: str) -> int:
    """Find the class index that `text` means; raises DataError where the class list does not have it."""
    index = classes.index(text)
    if index is None:
        raise DataError(f"{where}: {text!r} is no class of the list {classes.source!r}{classes.nearest(text)}")
    return index


def make_sample_set(
    samples: Sequence[Sample],
    labels: IntArray,
    class_names: tuple[str, ...],
    place: Path,
    limit: int = 0,
    max_megapixels: float = 100.0,
) -> SampleSet:
    """Keep at most `limit` samples, spread evenly (0 keeps all), read from the folder or tar archive `place`."""
    chosen = spread_evenly(len(samples), limit or len(samples))
    kept = [samples[position] for position in chosen]
    kept_labels = labels[np.asarray(chosen, dtype=np.int64)]
    source: Source
    if place.is_dir():
        source = FileSource(place, tuple(sample.name for sample in kept))
    else:
        source = TarSource(place, tuple((sample.offset, sample.size) for sample in kept))
    names = tuple(_printable(sample.name) for sample in kept)
    digest = hashlib.sha256()
    for name, sample, label in zip(names, kept, kept_labels.tolist(), strict=True):
        digest.update(json.dumps([name, sample.size, label]).encode() + b"\n")
    modified = tuple(sample.modified for sample in kept)
    return SampleSet(names, kept_labels, class_names, digest.hexdigest(), source, max_megapixels, modified)


def no_labels(n_samples: int) -> IntArray:
    """Make the (n_samples,) labels of samples that have none."""
    return np.full(n_samples, EMPTY, dtype=np.int64)


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")


def _walk(root: Path, below: PurePosixPath, above: frozenset[tuple[int, int]]) -> Iterator[Sample]:
    status = (root / below).stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return  # a link back to a folder that is being listed
    with os.scandir(root / below) as entries:
        for entry in entries:
            name = below / entry.name
            if entry.name.startswith("."):
                continue
            if Path(entry).is_dir():
                yield from _walk(root, name, above | {here})
            elif _is_image(entry.name) and Path(entry).is_file():
                file = entry.stat()
                yield Sample(str(name), file.st_size, modified=file.st_mtime_ns)


def _printable(name: str) -> str:
    """Make a name that can be written as UTF-8; bytes that are none become escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _uncompressed(path: Path, cache: Path) -> Path:
    """Unpack a compressed archive into the cache, whole or not at all; a plain one stays where it is."""
    try:
        with path.open("rb") as file:
            magic = file.read(6)
        status = path.stat()
    except OSError as error:
        raise DataError(f"cannot read the archive {path}: {error.strerror} (dataset.root)") from error
    codec = next((codec for start, codec in _CODECS.items() if magic.startswith(start)), None)
    if codec is None:
        return path
    key = hashlib.sha256(f"{path.name} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()[:16]
    plain = cache / f"{path.name.partition('.')[0]}-{key}.tar"
    if not plain.exists():
        with codec.open(path) as packed, replacing(plain) as partial, partial.open("wb") as file:
            _unpack(cast("IO[bytes]", packed), file, path)
    return plain


def _unpack(packed: IO[bytes], file: IO[bytes], path: Path) -> None:
    while True:
        try:
            block = packed.read(1 << 20)
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise DataError(f"the archive {path} is damaged or truncated: {error}") from error
        if not block:
            return
        file.write(block)
