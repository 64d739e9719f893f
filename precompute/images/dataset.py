"""Data sets: samples by index, and batches of preprocessed images from worker processes.

Owns what kinds of data sets there are and how they are opened and iterated. Must not know models.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch
import torch.utils.data

from precompute.atlas.digests import digest_of
from precompute.atlas.evenly import spread_evenly
from precompute.config import Config, resolve_path
from precompute.errors import DataError
from precompute.extensions import call_factory, keep_importable
from precompute.records import IntArray

from . import listing as samples
from .cache import ImageCache
from .classes import ClassList, load_classes
from .decoding import GreyRange, decode_image, normalise, preprocess
from .label_lists import read_ground_truth
from .workers import n_cpus, start_worker, worker_context

__all__ = [
    "Batch",
    "Dataset",
    "iter_batches",
    "load_input",
    "load_photo",
    "normalise",
    "open_dataset",
    "preprocess",
]

_FEW_IMAGES = 64
"""So few are decoded in this process: starting another takes longer."""


@runtime_checkable
class Dataset(Protocol):
    """Samples by index. An implementation can be pickled, because worker processes get a copy."""

    @property
    def names(self) -> tuple[str, ...]:
        """Path of each sample relative to the root, with forward slashes. Untrusted until escaped."""
        ...

    @property
    def labels(self) -> IntArray:
        """(n_samples,) int64 class indices of the model; `MISSING` where there is none."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """By class index; empty where the data set does not say."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 over the names, sizes and labels of the samples."""
        ...

    def __len__(self) -> int: ...

    def stamp(self, index: int) -> int:
        """Return a number that changes when a sample's content does: the time of its file."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how the data set was read, a line each. Untrusted until escaped."""
        ...

    @property
    def grey(self) -> GreyRange | None:
        """Black and white of grey of more than 8 bits, where the images have some."""
        ...

    @property
    def cache(self) -> Path:
        """The folder for what can be made again."""
        ...

    def load(self, index: int) -> PIL.Image.Image:
        """Decode one sample to RGB; raises DataError whose message is the reason why it cannot be used."""
        ...


@dataclass(frozen=True, eq=False)
class Batch:
    """Preprocessed images.

    Attributes
    ----------
    indices : (n,) int64 tensor
        Sample indices.
    images : (n, 3, height, width) uint8 tensor
        Not normalised.
    skipped : dict of int to str
        Reason by index of the samples that belong into this batch but could not be used.
    """

    indices: torch.Tensor
    images: torch.Tensor
    skipped: dict[int, str]

    def pin_memory(self) -> Batch:
        """Copy into page-locked memory, for faster transfer to a GPU."""
        return Batch(self.indices.pin_memory(), self.images.pin_memory(), self.skipped)


def open_dataset(config: Config, cache: Path) -> Dataset:
    """List the samples of the config's data set, if it is none that the project draws.

    Parameters
    ----------
    config : Config
    cache : Path
        The folder for what can be made again: unpacked archives, decoded images.

    Raises
    ------
    DataError
        No such folder, an empty one, an empty class folder, a damaged archive, a list that does not fit.
    """
    return _OPENERS.get(config.dataset.kind, _open_own)(config, cache)


def load_photo(path: Path, config: Config, grey: GreyRange | None = None) -> PIL.Image.Image:
    """Decode a photo from outside the data set to RGB.

    Raises
    ------
    DataError
        Names the file and the reason.
    """
    shown = samples.printable(str(path))
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError("neither a file nor a folder")
        samples.check_size(status.st_size, config.dataset.max_megapixels)
        return decode_image(path.read_bytes(), config.dataset.max_megapixels, grey or _grey_of(config))
    except OSError as error:
        raise DataError(f"cannot read the photo {shown}: {error.strerror}") from error
    except DataError as error:
        raise DataError(f"cannot use the photo {shown}: {error}") from error


def load_input(dataset: Dataset, index: int, config: Config) -> npt.NDArray[np.uint8]:
    """Decode and preprocess one sample: (3, height, width) uint8; raises DataError with the reason."""
    return _Inputs(dataset, (index,), config).load(index)


def iter_batches(dataset: Dataset, indices: Sequence[int], config: Config, pin_memory: bool = False) -> Iterator[Batch]:
    """Decode and preprocess samples, in order, in `mining.n_workers` processes.

    A batch has at most `mining.batch_size` samples and ends where the position in `indices` is a multiple of
    `mining.shard_size`. Every index is either in `Batch.indices` or in `Batch.skipped`. About two batches for each
    worker are held at a time.

    Raises
    ------
    DataError
        The worker processes died.
    """
    size, shard = config.mining.batch_size, config.mining.shard_size
    shards = (range(start, min(start + shard, len(indices))) for start in range(0, len(indices), shard))
    batches = [list(part[start : start + size]) for part in shards for start in range(0, len(part), size)]
    inputs = _Inputs(dataset, tuple(int(index) for index in indices), config)
    n_workers = 0 if len(indices) < _FEW_IMAGES else min(config.mining.n_workers, n_cpus(), len(batches))
    options: dict[str, Any] = {}
    if n_workers:
        options = {"prefetch_factor": 2, "worker_init_fn": start_worker, "multiprocessing_context": worker_context()}
    loader = torch.utils.data.DataLoader(
        inputs,
        batch_sampler=batches,
        num_workers=n_workers,
        collate_fn=_pass_on,
        pin_memory=pin_memory and torch.cuda.is_available(),
        # Its own generator, so that iterating leaves the caller's random numbers as they were.
        generator=torch.Generator(),
        **options,
    )
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise DataError(
            f"a worker process that decodes images died: {error}. It may have run out of memory or of shared memory; "
            "try mining.n_workers=0 or a smaller mining.batch_size."
        ) from error


class _Inputs(torch.utils.data.Dataset[Batch]):
    """Makes whole batches, by positions in a list of sample indices; runs in worker processes."""

    def __init__(self, dataset: Dataset, indices: tuple[int, ...], config: Config) -> None:
        self.dataset = dataset
        self.indices = indices
        self.preprocessing = config.preprocessing
        self.cache = _make_cache(dataset, config) if config.mining.cache_images else None

    def __getitems__(self, positions: list[int]) -> Batch:
        images, used, skipped = [], [], {}
        for position in positions:
            index = self.indices[position]
            try:
                images.append(torch.from_numpy(self.load(index)))
                used.append(index)
            except DataError as error:
                skipped[index] = str(error)
        shape = (3, *self.preprocessing.size)
        stacked = torch.stack(images) if images else torch.empty((0, *shape), dtype=torch.uint8)
        return Batch(torch.tensor(used, dtype=torch.int64), stacked, skipped)

    def load(self, index: int) -> npt.NDArray[np.uint8]:
        stamp = self.dataset.stamp(index) if self.cache else 0
        cached = self.cache.read(index, stamp) if self.cache else None
        if cached is not None:
            return cached.copy()
        image = preprocess(self.dataset.load(index), self.preprocessing)
        if self.cache:
            self.cache.write(index, image, stamp)
        return image


def _make_cache(dataset: Dataset, config: Config) -> ImageCache:
    """Open the cache of this data set with this preprocessing; mean and std come later and do not matter."""
    preprocessing = {key: asdict(config.preprocessing)[key] for key in ("resize", "crop", "interpolation", "channels")}
    read = (config.dataset.max_megapixels, config.dataset.grey_range)
    key = digest_of([2, dataset.digest, preprocessing, *read])[:16]
    cache = ImageCache(dataset.cache / f"images-{key}.u8", len(dataset), (3, *config.preprocessing.size))
    cache.create()
    return cache


def _pass_on(batch: list[Any]) -> Batch:
    # Fetching already makes a batch, whatever the annotation of collating functions expects.
    return cast("Batch", batch)


def _classes_of(config: Config) -> ClassList | None:
    source = config.dataset.classes
    if not source:
        return None
    return load_classes(source, None if source == "imagenet" else resolve_path(config, source))


def _grey_of(config: Config) -> GreyRange | None:
    values = config.dataset.grey_range
    if not values:
        return None
    if len(values) != 2 or values[0] >= values[1]:
        raise DataError(f"dataset.grey_range is {list(values)}, expected two numbers: black, and white above it")
    return GreyRange(*values)


def _root_of(config: Config, default: str = "") -> Path:
    root = config.dataset.root or default
    if not root:
        raise DataError(
            f"{config.path}: dataset.kind = {config.dataset.kind!r} needs dataset.root, where the images are"
        )
    return resolve_path(config, root)


def _list(config: Config, cache: Path) -> samples.Listing:
    return _list_images(_root_of(config), config, cache)


def _list_images(root: Path, config: Config, cache: Path) -> samples.Listing:
    ratio, follow_links = config.dataset.max_unpacked_ratio, config.dataset.follow_links
    return samples.list_images(root, cache, ratio, follow_links=follow_links)


def _finish(
    config: Config,
    cache: Path,
    listing: samples.Listing,
    labels: IntArray,
    class_names: tuple[str, ...],
    note: str = "",
) -> Dataset:
    others = listing.describe_others()
    told = [note, f"not taken, as they are no images: {others}" if others else ""]
    return samples.make_sample_set(
        listing,
        labels,
        class_names,
        config.dataset.limit,
        max_megapixels=config.dataset.max_megapixels,
        grey=_grey_of(config),
        notes=[samples.printable(text) for text in told if text],
        cache=cache,
    )


def _open_folders(config: Config, cache: Path) -> Dataset:
    return _open_class_folders(config, cache, _list(config, cache), _classes_of(config))


def _open_class_folders(config: Config, cache: Path, listing: samples.Listing, classes: ClassList | None) -> Dataset:
    folders = samples.list_class_folders(listing.root) if listing.root.is_dir() else []
    return _finish(
        config, cache, listing, *samples.label_by_folder(listing, folders, classes, config.dataset.ground_truth_ids)
    )


def _open_flat(config: Config, cache: Path) -> Dataset:
    if not config.dataset.ground_truth:
        raise DataError(
            f"{config.path}: dataset.kind = 'flat' needs dataset.ground_truth, the list of classes. "
            "For images without labels set dataset.kind = 'unlabelled'."
        )
    listing = _list(config, cache)
    names = [sample.name for sample in listing.samples]
    path = resolve_path(config, config.dataset.ground_truth)
    labels = read_ground_truth(path, names, _classes_of(config), config.dataset)
    return _finish(config, cache, listing, labels.indices, labels.class_names, f"labels from {labels.how}")


def _open_unlabelled(config: Config, cache: Path) -> Dataset:
    listing, classes = _list(config, cache), _classes_of(config)
    labels = samples.no_labels(len(listing.samples))
    return _finish(config, cache, listing, labels, classes.names if classes else ())


def _open_tar(config: Config, cache: Path) -> Dataset:
    root = _root_of(config)
    if root.is_dir():
        raise DataError(
            f"dataset.kind = 'tar' needs an archive, and {root} is a folder. Set dataset.kind = 'folders' for a folder "
            "of class folders, or 'webdataset' for one of shards."
        )
    if not root.exists():
        raise DataError(f"cannot read the archive {root}: No such file or directory (dataset.root)")
    return _open_folders(config, cache)


def _open_webdataset(config: Config, cache: Path) -> Dataset:
    listing = samples.list_shards(_root_of(config), cache, config.dataset.max_unpacked_ratio)
    labels = samples.label_by_side(listing, _classes_of(config), config.dataset.ground_truth_ids)
    return _finish(config, cache, listing, *labels)


def _open_imagenette(config: Config, cache: Path) -> Dataset:
    """Download Imagenette's validation photos through torchvision; its folders are WordNet ids."""
    root = _root_of(config, "imagenette")
    place = root / "imagenette2-320" / "val"
    if not place.is_dir():
        # Imported here because only this kind downloads.
        from torchvision.datasets import Imagenette  # noqa: PLC0415

        try:
            root.mkdir(parents=True, exist_ok=True)
            Imagenette(root, split="val", size="320px", download=True)
        except (OSError, RuntimeError, EOFError) as error:
            raise DataError(
                f"cannot download Imagenette into {root}: {error}. Check the network, or unpack imagenette2-320.tgz "
                "there."
            ) from error
    listing = _list_images(place, config, cache)
    return _open_class_folders(config, cache, listing, load_classes("imagenet"))


def _open_own(config: Config, cache: Path) -> Dataset:
    """Call a factory of the user's own with the config and the folder of the cache, by name."""
    kind, folder = config.dataset.kind, config.path.parent
    keep_importable(folder)  # worker processes read its samples
    made = call_factory(kind, "dataset.kind", folder, DataError, {"config": config, "cache": cache})
    if not isinstance(made, Dataset):
        wanted = [name for name in vars(Dataset) if not name.startswith("_") or name == "__len__"]
        missing = ", ".join(name for name in wanted if not hasattr(made, name))
        raise DataError(f"{kind} returned {type(made).__name__}, which is no Dataset: it lacks {missing}")
    counts = {"len()": len(made), "names": len(made.names), "labels": len(made.labels)}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{n} by {what}" for what, n in counts.items())
        raise DataError(f"{kind} returned a data set whose samples are {told}; expected the same number three times")
    return _as_configured(made, config)


def _as_configured(made: Dataset, config: Config) -> Dataset:
    """Hold a data set of a user's own to ``dataset.limit`` and ``dataset.classes``, whether its factory reads them."""
    kind, limit, given = config.dataset.kind, config.dataset.limit, tuple(made.class_names)
    classes = _classes_of(config)
    names = given if classes is None else classes.names
    if given and names != given:
        differ = next((pair for pair in zip(given, names, strict=False) if pair[0] != pair[1]), None)
        found = f"{differ[0]!r} instead of {differ[1]!r}" if differ else f"{len(given)} instead of {len(names)}"
        raise DataError(
            f"{kind} names the classes itself, and not as dataset.classes = {config.dataset.classes!r} does: {found}. "
            "Leave dataset.classes empty, or let the factory read it (or return no class_names)"
        )
    chosen = spread_evenly(len(made), limit or len(made))
    if len(chosen) == len(made) and names == given:
        return made
    labels = made.labels[np.asarray(chosen, dtype=np.int64)]
    digest = digest_of([made.digest, chosen, names])
    return ChosenSamples(made, tuple(chosen), tuple(made.names[index] for index in chosen), labels, names, digest)


@dataclass(frozen=True, eq=False)
class ChosenSamples:
    """Some samples of another data set, and the names of its classes.

    Attributes
    ----------
    whole : Dataset
    chosen : tuple of int
        Increasing indices into `whole`.
    names, labels, class_names, digest
        As in `Dataset`, of the samples chosen.
    """

    whole: Dataset
    chosen: tuple[int, ...]
    names: tuple[str, ...]
    labels: IntArray
    class_names: tuple[str, ...]
    digest: str

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Dataset`."""
        return self.whole.notes

    @property
    def grey(self) -> GreyRange | None:
        """See `Dataset`."""
        return self.whole.grey

    @property
    def cache(self) -> Path:
        """See `Dataset`."""
        return self.whole.cache

    def __len__(self) -> int:
        """Count the samples chosen."""
        return len(self.chosen)

    def stamp(self, index: int) -> int:
        """See `Dataset`."""
        return self.whole.stamp(self.chosen[index])

    def load(self, index: int) -> PIL.Image.Image:
        """See `Dataset`."""
        return self.whole.load(self.chosen[index])


_OPENERS: dict[str, Callable[[Config, Path], Dataset]] = {
    "folders": _open_folders,
    "flat": _open_flat,
    "unlabelled": _open_unlabelled,
    "tar": _open_tar,
    "webdataset": _open_webdataset,
    "imagenette": _open_imagenette,
}
"""By ``dataset.kind``."""
