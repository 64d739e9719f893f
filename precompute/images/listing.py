"""The samples of a data set: which files are images, what class each has, and how to read one again.

Owns what counts as an image, the listing of folders and archives, and labels by folder. Must not know models or
batches.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

import numpy as np
import PIL.Image

from precompute.atlas.evenly import spread_evenly
from precompute.atlas.ownership import is_made, read_manifest
from precompute.errors import DataError
from precompute.records import MISSING, IntArray

from .archives import Member, Place, list_archive
from .classes import ClassList, IdKind, check_new_names, find_classes, is_index
from .decoding import IMAGE_SUFFIXES, PLUGINS, GreyRange, choose_grey, decode_image, measure_grey

_MOST_BYTES = 32
"""No image file has more bytes for each pixel that it may have; a larger one is not read into memory."""
_LOOKED_AT = 32
"""So many images are looked at to find the range of deep grey."""


class Sample(NamedTuple):
    """One image file.

    Attributes
    ----------
    name : str
        With forward slashes.
    size : int
        In bytes.
    modified : int
        When the file, or the archive, was last changed, in nanoseconds.
    place : Place or None
        Where its bytes lie in an archive; None for a file.
    """

    name: str
    size: int
    modified: int = 0
    place: Place | None = None


@dataclass(frozen=True)
class Listing:
    """What a folder or an archive holds.

    Attributes
    ----------
    root : Path
        The folder or archive.
    samples : list of Sample
        The images, in the order of their names.
    others : Counter of str
        How many files are no images, by suffix.
    side : dict of str to Member
        Files of an archive that are no images, by name.
    """

    root: Path
    samples: list[Sample]
    others: Counter[str] = field(default_factory=Counter)
    side: Mapping[str, Member] = field(default_factory=dict)

    def describe_others(self) -> str:
        """Say which files were not taken, by suffix, and what would read them; empty where there are none."""
        if not self.others:
            return ""
        counts = ", ".join(f"{count} {suffix}" for suffix, count in sorted(self.others.items()))
        hints = sorted({PLUGINS[suffix] for suffix in self.others if suffix in PLUGINS})
        return counts + (f" (`{hints[0]}` reads photos of phones)" if hints else "")


class Source(Protocol):
    """Reads samples again; cheap to send to another process."""

    def read(self, index: int) -> bytes:
        """Read the bytes of one sample; raises OSError, or DataError with the reason."""
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
class MemberSource:
    """Samples that are members of archives."""

    places: tuple[Place, ...]

    def read(self, index: int) -> bytes:
        """Read one member."""
        return self.places[index].read()


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
    sizes: tuple[int, ...] = ()
    grey: GreyRange | None = None
    notes: tuple[str, ...] = ()
    cache: Path = field(default_factory=Path)

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
        return decode_image(self._read(index), self.max_megapixels, self.grey)

    def _read(self, index: int) -> bytes:
        check_size(self.sizes[index], self.max_megapixels)
        try:
            return self.source.read(index)
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror or error}") from error

    def measure_grey(self) -> GreyRange | None:
        """Find black and white of deep grey in some of the images; None where they have none."""
        found = []
        for index in spread_evenly(len(self), _LOOKED_AT):
            try:
                measured = measure_grey(self._read(index), self.max_megapixels)
            except DataError:
                continue
            found += [measured] if measured else []
        if not found or len({measured.is_float for measured in found}) > 1:
            return None
        lowest, highest = min(each.low for each in found), max(each.high for each in found)
        return choose_grey(found[0]._replace(low=lowest, high=highest))._replace(is_measured=True)


def is_image(name: str) -> bool:
    """Tell whether a file is an image, by its name: a known suffix in any spelling, and not hidden."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES and not PurePosixPath(name).name.startswith(".")


def check_size(n_bytes: int, max_megapixels: float) -> None:
    """Refuse a file too large for any image of the allowed pixels, before it is read into memory."""
    if n_bytes > max_megapixels * 1e6 * _MOST_BYTES + (1 << 20):
        raise DataError(f"too large: a file of {n_bytes / 1e6:.0f} MB for at most {max_megapixels:g} megapixels")


def list_images(root: Path, cache: Path, max_ratio: float, *, follow_links: bool = False) -> Listing:
    """List the images in a folder (see `list_folder`) or in an archive.

    Raises
    ------
    DataError
        It is missing, unreadable or damaged, or holds no image.
    """
    if root.is_dir() or not root.exists():
        listing = list_folder(root, follow_links=follow_links)
    else:
        listing = _list_archive(root, cache, max_ratio)
    if not listing.samples:
        others = listing.describe_others()
        raise DataError(
            f"{_kind(root)} {root} holds no image file ({f'it holds {others}' if others else 'it is empty'}; known: "
            f"{', '.join(sorted(IMAGE_SUFFIXES))}). Set dataset.root to where the images are."
        )
    return listing


def list_folder(root: Path, *, follow_links: bool = False) -> Listing:
    """List the files below a folder, in the order of their names; links are followed, loops are not.

    Parameters
    ----------
    root : Path
        May be a link itself: whoever named it knows where it leads.
    follow_links : bool
        Whether links in it may lead out of it.

    Raises
    ------
    DataError
        The folder is missing or unreadable, or a link in it leads out of it and must not.
    """
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataError(f"the image folder {root} {what}. Set dataset.root to the folder that holds the images.")
    samples: list[Sample] = []
    others: Counter[str] = Counter()
    try:
        within = None if follow_links else root.resolve()
        for name, entry in _walk(root, PurePosixPath(), frozenset(), within):
            if is_image(entry.name):
                file = entry.stat()
                samples.append(Sample(name, file.st_size, file.st_mtime_ns))
            else:
                others[_suffix(entry.name)] += 1
    except OSError as error:
        raise DataError(f"cannot list the image folder {error.filename or root}: {error.strerror}") from error
    return Listing(root, sorted(samples), others)


def list_class_folders(root: Path) -> list[str]:
    """List the folders in a folder, but hidden ones and links back to where it lies itself."""
    above = {root.resolve(), *root.resolve().parents}
    return sorted(
        entry.name
        for entry in root.iterdir()
        if not _is_hidden(entry.name) and entry.is_dir() and entry.resolve() not in above
    )


def list_shards(root: Path, cache: Path, max_ratio: float) -> Listing:
    """List the images in WebDataset's shards: one archive, or all of a folder, whose names then come first."""
    shards = sorted(path for path in root.iterdir() if is_shard(path.name)) if root.is_dir() else [root]
    if not shards:
        raise DataError(f"the folder {root} holds no shard (.tar, .tar.gz, .tgz). Set dataset.root to where they are.")
    samples: list[Sample] = []
    others: Counter[str] = Counter()
    side: dict[str, Member] = {}
    for shard in shards:
        listed = _list_archive(shard, cache, max_ratio, strip=False)
        prefix = f"{shard.name.partition('.tar')[0]}/" if len(shards) > 1 else ""
        samples += [sample._replace(name=prefix + sample.name) for sample in listed.samples]
        side |= {prefix + name: member for name, member in listed.side.items()}
        others += Counter({suffix: n for suffix, n in listed.others.items() if suffix != ".cls"})
    if not samples:
        raise DataError(f"the shards {root} hold no image file. Set dataset.root to where they are.")
    return Listing(root, sorted(samples), others, side)


def is_shard(name: str) -> bool:
    """Tell whether a file is a shard, by its name."""
    return name.lower().endswith((".tar", ".tar.gz", ".tgz")) and not name.startswith(".")


def label_by_folder(
    listing: Listing, folders: Sequence[str], classes: ClassList | None, ids: IdKind = "auto"
) -> tuple[IntArray, tuple[str, ...], str]:
    """Label samples by their first folder.

    Parameters
    ----------
    listing : Listing
    folders : sequence of str
        Class folders that exist, so that an empty one is found out.
    classes : ClassList or None
        None numbers the folders in the order of their names.
    ids : str
        How folders that are numbers count, where there is a class list.

    Returns
    -------
    labels : (n_samples,) int64
    class_names : tuple of str
    how : str
        For a note; empty where there is nothing to tell.

    Raises
    ------
    DataError
        There are no class folders, one is empty, or one is not in the class list.
    """
    samples, where = listing.samples, listing.root
    found = {sample.name.partition("/")[0] for sample in samples if "/" in sample.name}
    if loose := [sample.name for sample in samples if "/" not in sample.name]:
        shards = (
            " For WebDataset's shards, 'webdataset'." if any(name.endswith(".cls") for name in listing.side) else ""
        )
        raise DataError(
            f"{where} has {len(loose)} images outside class folders, first {loose[0]!r}; expected one folder for each "
            "class. For images without classes set dataset.kind = 'unlabelled', for a list of labels 'flat' (and "
            f"dataset.ground_truth).{shards}"
        )
    if empty := sorted(set(folders) - found):
        others = listing.describe_others()
        raise DataError(
            f"{where}: {len(empty)} class folder(s) hold no image: {', '.join(map(repr, empty[:5]))}"
            f"{', …' if len(empty) > 5 else ''}{f' (no images: {others})' if others else ''}. Add their images, or "
            "move folders that are no classes out of dataset.root."
        )
    ordered = sorted(found)
    if classes is None and (ids == "auto" or not all(map(is_index, ordered))):
        indices, names, how = {folder: n for n, folder in enumerate(ordered)}, tuple(ordered), _order_note(ordered)
        if all(folder.casefold() in _PARTS for folder in ordered):
            raise DataError(
                f"{where} holds {', '.join(map(repr, ordered))}: parts of a data set and no classes. Set dataset.root "
                f"to one of them ({str(where / ordered[-1])!r}), or, if these are the classes, name them in a class "
                "list (dataset.classes)."
            )
        check_new_names({folder: f"class folder {str(where / folder)!r}" for folder in ordered})
        _check_one_level([sample.name for sample in samples], where)
    else:
        read = find_classes({folder: f"class folder {str(where / folder)!r}" for folder in ordered}, classes, ids)
        indices, names, how = read.indices, read.names, f"class folders are {read.how}"
    labels = np.array([indices[sample.name.partition("/")[0]] for sample in samples], dtype=np.int64)
    return labels, names, how


_PARTS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})


def _check_one_level(names: Sequence[str], where: Path) -> None:
    """Refuse folders that all hold the same folders and no image, since either level could be the classes."""
    inner: dict[str, set[str]] = {}
    for name in names:
        folder, _, rest = name.partition("/")
        inner.setdefault(folder, set()).add(rest.rpartition("/")[0].partition("/")[0])
    first, *others = inner.values()
    if others and "" not in first and len(first) > 1 and all(found == first for found in others):
        outer, below = sorted(inner), sorted(first)
        raise DataError(
            f"{where}: all of {', '.join(map(repr, outer[:3]))}{', …' if len(outer) > 3 else ''} hold the same folders "
            f"{', '.join(map(repr, below[:3]))}{', …' if len(below) > 3 else ''}, so that either level could be the "
            "classes. Put the images of each class into one folder, or, if the outer folders are the classes, name "
            "them in a class list (dataset.classes)."
        )


def _order_note(folders: Sequence[str]) -> str:
    """Say in which order folders were numbered, where that is not plain."""
    if not all(map(is_index, folders)):
        return ""
    shown = ", ".join(folders[:5]) + (", …" if len(folders) > 5 else "")
    ways = "as torchvision's ImageFolder numbers them" if folders != sorted(folders, key=float) else "as they count"
    return (
        f"class folders are numbers, and there is no class list: class 0, 1, 2, … are {shown} (the order of the text, "
        f"{ways}). If the model numbers them otherwise, set dataset.classes to its class list"
    )


def label_by_side(
    listing: Listing, classes: ClassList | None, ids: IdKind = "auto"
) -> tuple[IntArray, tuple[str, ...], str]:
    """Label the images of shards by the ``.cls`` file that has the same key; returns as `label_by_folder` does.

    Raises
    ------
    DataError
        An image has none, or it is no class.
    """
    texts: list[str] = []
    wheres: dict[str, str] = {}
    images: dict[str, str] = {}
    for sample in listing.samples:
        folder, _, name = sample.name.rpartition("/")
        key = f"{folder}/{name.partition('.')[0]}".lstrip("/") + ".cls"
        member = listing.side.get(key)
        if member is None:
            raise DataError(f"{listing.root}: the image {sample.name!r} has no {key!r} with its class beside it")
        if (other := images.setdefault(key, sample.name)) != sample.name:
            raise DataError(
                f"{listing.root}: {key!r} has two images, {other!r} and {sample.name!r}, and an atlas takes one for "
                "each class. Leave masks and other pictures out of the shards."
            )
        if member.place.size > 1000:
            raise DataError(f"{listing.root}: {key!r} has {member.place.size} bytes, expected a class")
        try:
            text = member.place.read().decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{listing.root}: cannot read {key!r}: {error}") from error
        texts.append(text)
        wheres.setdefault(text, f"{listing.root}, {key}")
    read = find_classes(wheres, classes, ids)
    return np.array([read.indices[text] for text in texts], np.int64), read.names, f"classes of .cls files: {read.how}"


def make_sample_set(
    listing: Listing,
    labels: IntArray,
    class_names: tuple[str, ...],
    limit: int = 0,
    *,
    max_megapixels: float = 100.0,
    grey: GreyRange | None = None,
    notes: Sequence[str] = (),
    cache: Path = Path(),
) -> SampleSet:
    """Keep at most `limit` samples of a listing, spread evenly (0 keeps all)."""
    chosen = spread_evenly(len(listing.samples), limit or len(listing.samples))
    kept = [listing.samples[position] for position in chosen]
    kept_labels = labels[np.asarray(chosen, dtype=np.int64)]
    places = tuple(sample.place for sample in kept if sample.place)
    source: Source = MemberSource(places) if places else FileSource(listing.root, tuple(sample.name for sample in kept))
    names = tuple(printable(sample.name) for sample in kept)
    digest = hashlib.sha256()
    for name, sample, label in zip(names, kept, kept_labels.tolist(), strict=True):
        digest.update(json.dumps([name, sample.size, label]).encode() + b"\n")
    found = SampleSet(
        *(names, kept_labels, class_names, digest.hexdigest(), source, max_megapixels),
        modified=tuple(sample.modified for sample in kept),
        sizes=tuple(sample.size for sample in kept),
        grey=grey,
        notes=tuple(notes),
        cache=cache,
    )
    return found if grey else _with_grey(found)


def _with_grey(found: SampleSet) -> SampleSet:
    """Measure deep grey, where there is some, and say so; the range becomes a part of the digest."""
    grey = found.measure_grey()
    if grey is None:
        return found
    note = (
        f"grey of more than 8 bits: black is {grey.black:g} and white {grey.white:g}, measured in "
        f"{min(len(found), _LOOKED_AT)} of {len(found)} images; dataset.grey_range sets them"
    )
    digest = hashlib.sha256(f"{found.digest} {grey.black} {grey.white}".encode()).hexdigest()
    return replace(found, digest=digest, grey=grey, notes=(*found.notes, note))


def no_labels(n_samples: int) -> IntArray:
    """Make the (n_samples,) labels of samples that have none."""
    return np.full(n_samples, MISSING, dtype=np.int64)


def _list_archive(path: Path, cache: Path, max_ratio: float, *, strip: bool = True) -> Listing:
    """List the files in an archive; `strip` leaves a folder that holds everything out of the names."""
    samples: list[Sample] = []
    others: Counter[str] = Counter()
    side: dict[str, Member] = {}
    for member in list_archive(path, cache, max_ratio):
        if _is_hidden(member.name):
            others["hidden"] += 1
        elif is_image(member.name):
            samples.append(Sample(member.name, member.place.size, member.modified, member.place))
        else:
            others[_suffix(member.name)] += 1
            side[member.name] = member
    if (
        strip
        and len({sample.name.partition("/")[0] for sample in samples}) == 1
        and all(sample.name.count("/") >= 2 for sample in samples)
    ):
        samples = [sample._replace(name=sample.name.partition("/")[2]) for sample in samples]
    return Listing(path, sorted(samples), others, side)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _suffix(name: str) -> str:
    if name.startswith("."):
        return "hidden"
    return PurePosixPath(name).suffix.lower() or "without suffix"


def _kind(root: Path) -> str:
    return "the archive" if root.is_file() else "the image folder"


def _walk(
    root: Path, below: PurePosixPath, above: frozenset[tuple[int, int]], within: Path | None
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Iterate over the files below a folder; hidden folders are left out."""
    status = (root / below).stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return  # a link back to a folder that is being listed
    if is_made(root / below) or read_manifest(root / below) is not None:
        raise DataError(
            f"the image folder {printable(str(root))} holds {printable(str(root / below))}, an atlas or a site of this "
            "program, whose pictures would be taken for images. Move it out, or choose another folder."
        )
    with os.scandir(root / below) as entries:
        for entry in entries:
            if within and entry.is_symlink() and not entry.name.startswith("."):
                _check_link(Path(entry), root, within)
            if Path(entry).is_dir():
                if not _is_hidden(entry.name):
                    yield from _walk(root, below / entry.name, above | {here}, within)
            elif Path(entry).is_file():
                yield str(below / entry.name), entry


def _check_link(link: Path, root: Path, within: Path) -> None:
    """Refuse a link that leads out of the folder of images: whoever made it could have any picture published."""
    goal = Path(os.path.realpath(link))  # a link to itself resolves to itself, and is no file
    if goal.exists() and not goal.is_relative_to(within):
        raise DataError(
            f"the image folder {printable(str(root))} holds the link {printable(str(link.relative_to(root)))} to "
            f"{printable(str(goal))}, outside of it. What it leads to would be published with the atlas: put the files "
            "themselves there, or set dataset.follow_links = true if you know all its links."
        )


def printable(name: str) -> str:
    """Make a name that can be written as UTF-8; bytes that are none become escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
