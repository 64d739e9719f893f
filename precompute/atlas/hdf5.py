"""HDF5 in and out: the only module that imports h5py.

Owns the layout of ``atlas.h5``, of its shards and of ``references.h5`` (`docs/format.md` is the contract), the format
version and the messages about files that cannot be used. Must not know models or how a table was computed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

import h5py
import numpy as np

from precompute.errors import StoreError
from precompute.records import (
    RANKINGS,
    Atlas,
    Box,
    Concept,
    FloatArray,
    IntArray,
    LargeShares,
    LayerInfo,
    LayerTables,
    Ranking,
    RankingTable,
    ReceptiveField,
    Reference,
    SampleTable,
    Scores,
)

from .files import DeferredErrorFile, replacing, unreadable

FORMAT_VERSION = 3
ATLAS_KIND = "concept-atlas"
REFERENCES_KIND = "concept-atlas-references"

_DIGESTS = "digests"
"""Attribute of the file: the SHA-256 of every other part of it, by name."""

_SLICE = 1 << 22
"""Elements that are digested together."""

_MAKE_AGAIN = "Move it away and run the same command again; finished shards are used again."

_BLOBS = ("full", "crop", "masked", "heatmap")


# --- opening and closing ---------------------------------------------------------------------------------------


@contextmanager
def reading(path: Path, kind: str, hint: str = "") -> Iterator[h5py.File]:
    """Open a stored file for reading after checking its kind and version.

    Parameters
    ----------
    path : Path
    kind : str
    hint : str
        What to do where the file cannot be used, if not what this module knows.

    Raises
    ------
    StoreError
        Missing, not HDF5, truncated, of another kind or of another format version.
    """
    file = _open(path, kind, hint)
    with file, _as_store_error(path, hint):
        yield file


def _open(path: Path, kind: str, hint: str = "", *, check: bool = True) -> h5py.File:
    try:
        is_there = path.exists()
    except OSError as error:  # a folder above may not be entered
        raise unreadable(path, error) from error
    if not is_there:
        raise StoreError(f"there is no {path}. {hint or 'Run `atlas run` with the same config to make it.'}")
    with _as_store_error(path, hint):
        file = h5py.File(path, "r")
        try:
            _check_header(file, path, kind, hint)
            if check:
                _check_parts(file, path, hint)
        except BaseException:
            file.close()
            raise
    return file


@contextmanager
def _as_store_error(path: Path, hint: str = "") -> Iterator[None]:
    """Turn whatever reading a file ends in into one message: what the system refuses is no damage."""
    try:
        yield
    except OSError as error:
        if "consistency flags" in str(error):
            raise StoreError(
                f"{path} is marked as open for writing, and no program holds it: one that had opened it ended without "
                "closing it. If it wrote nothing, `h5clear --status FILE` (of the HDF5 tools) takes the mark off; else "
                "move the file away and run `atlas run`, which makes it again."
            ) from error
        raise (_damaged(path, hint) if error.errno is None else unreadable(path, error)) from error
    except (LookupError, ValueError, TypeError, RuntimeError) as error:
        raise _damaged(path, hint) from error


def _damaged(path: Path, hint: str) -> StoreError:
    hint = hint or _MAKE_AGAIN
    return StoreError(f"{path} is truncated or damaged: it cannot be read as the file it should be. {hint}")


def _check_header(file: h5py.File, path: Path, kind: str, hint: str) -> None:
    found_kind = file.attrs.get("kind", "something else")
    if found_kind != kind:
        raise StoreError(
            f"{path} is not a {kind} file: found {found_kind!r}. {hint or 'Choose another output folder.'}"
        )
    found = int(file.attrs.get("format_version", 0))
    if found != FORMAT_VERSION:
        hint = hint or (
            f"Move the folder {path.parent} away, or choose another with --output, and run `atlas run` to make it "
            "again; or use the program version that made it."
        )
        raise StoreError(f"{path} has format version {found}, this program reads version {FORMAT_VERSION}. {hint}")


@contextmanager
def writing(path: Path, kind: str, provenance: Mapping[str, Any]) -> Iterator[h5py.File]:
    """Open a new stored file for writing; it appears at `path` whole or not at all.

    Raises
    ------
    OutputError
        No space or no permission.
    """
    with replacing(path) as partial, partial.open("w+b", buffering=0) as raw:
        patient = DeferredErrorFile(raw)
        try:
            with h5py.File(patient, "w", libver="v110") as file:
                file.attrs["kind"] = kind
                file.attrs["format_version"] = FORMAT_VERSION
                file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)
                yield file
                file.flush()
                if not patient.failure:
                    file.attrs[_DIGESTS] = json.dumps(dict(_digest_parts(file)), sort_keys=True)
        finally:
            if patient.failure:
                raise patient.failure


# --- integrity -------------------------------------------------------------------------------------------------


def _digest_parts(file: h5py.File) -> Iterator[tuple[str, str]]:
    """Yield the name and the SHA-256 of every part: each data set, and the attributes of each group."""
    names = [_ROOT]
    file.visit(names.append)
    for name in names:
        yield name, _digest_part(file[name])


_ROOT = "/"


def _digest_part(item: h5py.Group | h5py.Dataset) -> str:
    total = hashlib.sha256()
    for key in sorted(item.attrs):
        if key != _DIGESTS:
            total.update(f"{key}={np.asarray(item.attrs[key]).tolist()!r}\0".encode())
    if isinstance(item, h5py.Dataset):
        total.update(f"{item.dtype.str} {item.shape}\0".encode())
        if item.ndim and item.dtype.kind != "O":
            rows = max(1, _SLICE // max(1, int(np.prod(item.shape[1:]))))
            for start in range(0, item.shape[0], rows):
                total.update(np.ascontiguousarray(item[start : start + rows]).tobytes())
        else:
            total.update(repr(item[()]).encode())
    return total.hexdigest()


def damaged_parts(path: Path) -> list[str]:
    """Name the parts of a stored file that are not what was written; empty where all are.

    Returns
    -------
    list of str
        Names of data sets and groups; ``its structure`` where it cannot be read as HDF5 or says nothing about itself.

    Raises
    ------
    StoreError
        The system does not let it be read now, as while another program holds it: that is no damage.
    """
    try:
        with h5py.File(path, "r") as file:
            return _damaged_parts(file)
    except OSError as error:
        if error.errno is not None:
            raise unreadable(path, error) from error
        return ["its structure"]
    except (LookupError, ValueError, TypeError, RuntimeError, RecursionError):
        return ["its structure"]


def is_another_file(path: Path) -> bool:
    """Tell whether a file is not a damaged one but another: whole in itself, or of another format version."""
    try:
        with h5py.File(path, "r") as file:
            return bool(file.attrs["format_version"] != FORMAT_VERSION or not _damaged_parts(file))
    except (OSError, LookupError, ValueError, TypeError, RuntimeError, RecursionError):
        return False


def _damaged_parts(file: h5py.File) -> list[str]:
    expected: dict[str, str] = json.loads(file.attrs[_DIGESTS])
    names = [_ROOT]
    file.visit(names.append)
    found = {name for name in names if _is_part(file, name, expected.get(name, ""))}
    return sorted((expected.keys() | set(names)) - found)


def _is_part(file: h5py.File, name: str, digest: str) -> bool:
    try:
        return _digest_part(file[name]) == digest
    except (OSError, LookupError, ValueError, TypeError, RuntimeError):
        return False


_WHOLE: set[tuple[Path, int, int, int, int]] = set()
"""Files that were found whole, by what changes with their content, so that each is read through once."""


def _check_parts(file: h5py.File, path: Path, hint: str) -> None:
    """Refuse a file of which a part is not what was written."""
    status = path.stat()
    identity = (path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if identity in _WHOLE:
        return
    damaged = _damaged_parts(file)
    if damaged:
        hint = hint or _MAKE_AGAIN
        raise StoreError(f"{path} is damaged in {', '.join(damaged[:3])}: it is not what was written. {hint}")
    _WHOLE.add(identity)


def read_provenance(path: Path, kind: str) -> dict[str, Any]:
    """Read only the provenance of a stored file; raises StoreError as `reading` does."""
    with reading(path, kind) as file:
        return _provenance(file)


def _provenance(file: h5py.File) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(file.attrs["provenance"])
    return loaded


def _write_texts(group: h5py.Group, name: str, texts: Iterable[str]) -> None:
    group.create_dataset(name, data=json.dumps(list(texts), ensure_ascii=False), dtype=h5py.string_dtype())


def _read_texts(group: h5py.Group, name: str) -> tuple[str, ...]:
    return tuple(json.loads(group[name].asstr()[()]))


# --- atlas.h5 --------------------------------------------------------------------------------------------------


def write_atlas(path: Path, atlas: Atlas) -> None:
    """Write ``atlas.h5`` (or one shard of it), whole or not at all.

    Raises
    ------
    OutputError
        No space or no permission.
    """
    with writing(path, ATLAS_KIND, atlas.provenance) as file:
        file.attrs["name"] = atlas.name
        file.attrs["scores"] = atlas.scores
        _write_texts(file, "class_names", atlas.class_names)
        file["class_counts"] = atlas.class_counts
        file["relevance_edges"] = atlas.relevance_edges
        file["activation_edges"] = atlas.activation_edges
        _write_samples(file.create_group("samples"), atlas.samples)
        layers = file.create_group("layers", track_order=True)
        for index, tables in enumerate(atlas.layers.values()):
            _write_layer(layers.create_group(f"{index:04d}"), tables)


def read_atlas(path: Path, hint: str = "") -> Atlas:
    """Read ``atlas.h5`` (or one shard of it); `hint` as in `reading`.

    Raises
    ------
    StoreError
        Missing, truncated, of another kind or version.
    """
    with reading(path, ATLAS_KIND, hint) as file:
        layers = [_read_layer(file["layers"][key]) for key in sorted(file["layers"])]
        return Atlas(
            name=str(file.attrs["name"]),
            class_names=_read_texts(file, "class_names"),
            class_counts=file["class_counts"][()],
            samples=_read_samples(file["samples"]),
            relevance_edges=file["relevance_edges"][()],
            activation_edges=file["activation_edges"][()],
            layers={tables.info.name: tables for tables in layers},
            provenance=_provenance(file),
            scores=_scores(file),
        )


class LazyAtlas:
    """The arrays of ``atlas.h5``, each read when it is asked for: to look at one concept without reading all.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    name : str
    class_names : tuple of str
    class_counts : (n_classes,) int64
    n_channels : dict of str to int
        By layer, in forward order.

    Raises
    ------
    StoreError
        Missing, truncated, of another kind or version. What is not read is not checked.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._open() as file:
            self.name = str(file.attrs["name"])
            self.class_names = _read_texts(file, "class_names")
            self.class_counts: IntArray = file["class_counts"][()]
            groups = {key: file["layers"][key].attrs for key in sorted(file["layers"])}
            self._groups = {str(attributes["name"]): key for key, attributes in groups.items()}
            self.n_channels = {str(item["name"]): int(item["shape"][0]) for item in groups.values()}
        self._rankings: dict[tuple[str, Ranking], tuple[IntArray, FloatArray, IntArray]] = {}

    @contextmanager
    def _open(self) -> Iterator[h5py.File]:
        file = _open(self._path, ATLAS_KIND, check=False)
        with file, _as_store_error(self._path):
            yield file

    @cached_property
    def samples(self) -> SampleTable:
        """One row for each sample."""
        with self._open() as file:
            return _read_samples(file["samples"])

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """What the atlas was made from."""
        with self._open() as file:
            return _provenance(file)

    def ranking(self, layer: str, ranking: Ranking) -> tuple[IntArray, FloatArray, IntArray]:
        """Return sample_index, score and neuron of a layer's ranking, (k, n_channels) each."""
        if (layer, ranking) not in self._rankings:
            with self._open() as file:
                group = file["layers"][self._groups[layer]][ranking]
                self._rankings[layer, ranking] = (group["sample_index"][()], group["score"][()], group["neuron"][()])
        return self._rankings[layer, ranking]

    def class_relevance(self, layer: str, channel: int | None = None) -> FloatArray:
        """Return the sums of relevance by class, (n_classes, n_channels); of one channel (n_classes,)."""
        with self._open() as file:
            found = file["layers"][self._groups[layer]]["class_relevance"]
            return np.asarray(found[()] if channel is None else found[:, channel])


def _scores(file: h5py.File) -> Scores:
    known: tuple[Scores, ...] = get_args(Scores)
    found = str(file.attrs["scores"])
    for scores in known:
        if scores == found:
            return scores
    raise StoreError(f"{file.filename}: its attribute 'scores' is {found!r}, expected one of {', '.join(known)}")


def _write_samples(group: h5py.Group, samples: SampleTable) -> None:
    _write_texts(group, "name", samples.name)
    group["label"] = samples.label
    group["prediction"] = samples.prediction
    group["target"] = samples.target
    group["probability"] = samples.probability
    group["skipped_index"] = np.array(sorted(samples.skipped), dtype=np.int64)
    _write_texts(group, "skipped_reason", (samples.skipped[index] for index in sorted(samples.skipped)))


def _read_samples(group: h5py.Group) -> SampleTable:
    skipped = dict(zip(group["skipped_index"][()].tolist(), _read_texts(group, "skipped_reason"), strict=True))
    columns = {name: group[name][()] for name in ("label", "prediction", "target", "probability")}
    return SampleTable(name=_read_texts(group, "name"), skipped=skipped, **columns)


def _write_layer(group: h5py.Group, tables: LayerTables) -> None:
    info, field = tables.info, tables.info.receptive_field
    group.attrs["name"] = info.name
    group.attrs["kind"] = info.kind
    group.attrs["shape"] = (info.n_channels, info.height, info.width)
    group.attrs["receptive_field"] = (field.size, field.stride, field.start) if field else ()
    group.attrs["inputs"] = json.dumps(info.inputs)
    group.attrs["beside"] = json.dumps(info.beside)
    for ranking in RANKINGS:
        table = tables.ranking(ranking)
        columns = group.create_group(ranking)  # by name: HDF5 puts the time into groups that it makes on the way
        for column in ("sample_index", "score", "neuron"):
            columns[column] = getattr(table, column)
    for statistic in _STATISTICS:
        group.create_dataset(statistic, data=getattr(tables, statistic), compression="gzip", compression_opts=1)
    large = group.create_group("large")
    for column in _LARGE:
        large[column] = getattr(tables.large, column)


_STATISTICS = ("class_relevance", "class_activation", "relevance_histogram", "activation_histogram")
_LARGE = ("sample_index", "channel", "share")


def _read_layer(group: h5py.Group) -> LayerTables:
    relmax, actmax = (
        RankingTable(*(group[f"{ranking}/{column}"][()] for column in ("sample_index", "score", "neuron")))
        for ranking in RANKINGS
    )
    statistics = {statistic: group[statistic][()] for statistic in _STATISTICS}
    large = LargeShares(*(group[f"large/{column}"][()] for column in _LARGE))
    return LayerTables(_read_info(group), relmax, actmax, **statistics, large=large)


def _read_info(group: h5py.Group) -> LayerInfo:
    n_channels, height, width = (int(value) for value in group.attrs["shape"])
    field = [int(value) for value in group.attrs["receptive_field"]]
    return LayerInfo(
        name=str(group.attrs["name"]),
        kind=str(group.attrs["kind"]),
        n_channels=n_channels,
        height=height,
        width=width,
        receptive_field=ReceptiveField(*field) if field else None,
        inputs=tuple(json.loads(group.attrs["inputs"])),
        beside=tuple(json.loads(group.attrs["beside"])),
    )


# --- references.h5 ---------------------------------------------------------------------------------------------


def write_references(
    path: Path, references: Iterable[Reference], provenance: Mapping[str, Any], layer_names: Iterable[str] = ()
) -> None:
    """Write rendered reference images, sorted by layer, channel, ranking and rank.

    The layers are in the order of `layer_names`, others behind them as they come.

    All encoded pictures go into one flat byte array per kind with offsets; one variable-length item each would be
    an order of magnitude slower.

    Raises
    ------
    OutputError
        No space or no permission.
    """
    rows = list(references)
    layer_names = list(dict.fromkeys([*layer_names, *(row.concept.layer for row in rows)]))
    position = {name: index for index, name in enumerate(layer_names)}
    rows.sort(key=lambda row: (position[row.concept.layer], row.concept.channel, row.ranking != "relmax", row.rank))
    with writing(path, REFERENCES_KIND, provenance) as file:
        _write_texts(file, "layer_names", layer_names)
        numbers = [
            (
                *(position[row.concept.layer], row.concept.channel, RANKINGS.index(row.ranking), row.rank),
                *(row.sample_index, row.neuron, *row.box),
            )
            for row in rows
        ]
        file["row"] = np.array(numbers, dtype=np.int64).reshape(len(rows), 10)
        file["score"] = np.array([row.score for row in rows], dtype=np.float64)
        file["heatmap_scale"] = np.array([row.heatmap_scale for row in rows], dtype=np.float64)
        for blob in _BLOBS:
            _write_blobs(file.create_group(blob), [getattr(row, blob) for row in rows])


def _write_blobs(group: h5py.Group, blobs: list[bytes]) -> None:
    """Store equal pictures once: the whole photo recurs under many concepts."""
    unique = list(dict.fromkeys(blobs))
    place = {blob: index for index, blob in enumerate(unique)}
    sizes = np.array([len(blob) for blob in unique], dtype=np.int64)
    group["item"] = np.array([place[blob] for blob in blobs], dtype=np.int64)
    group["offset"] = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    group["data"] = np.frombuffer(b"".join(unique), dtype=np.uint8)


class ReferenceReader:
    """Random access to ``references.h5``.

    Parameters
    ----------
    path : Path
    check : bool
        Whether the whole file is held against its digests first, which takes seconds for a large one.

    Raises
    ------
    StoreError
        On entering: missing, truncated, of another kind or version.
    """

    def __init__(self, path: Path, *, check: bool = True) -> None:
        self._path, self._check = path, check

    def __enter__(self) -> ReferenceReader:
        self._file = _open(self._path, REFERENCES_KIND, check=self._check)
        try:
            with _as_store_error(self._path):
                self._read_tables(self._file)
        except BaseException:
            self._file.close()
            raise
        return self

    def _read_tables(self, file: h5py.File) -> None:
        """Read everything but the pictures."""
        self.provenance: dict[str, Any] = _provenance(file)
        layer_names = _read_texts(file, "layer_names")
        self._rows = file["row"][()]
        self._score = file["score"][()]
        self._scale = file["heatmap_scale"][()]
        self._item = {blob: file[f"{blob}/item"][()] for blob in _BLOBS}
        self._offset = {blob: file[f"{blob}/offset"][()] for blob in _BLOBS}
        self._data = {blob: file[f"{blob}/data"] for blob in _BLOBS}
        self._layers = {name: index for index, name in enumerate(layer_names)}
        self._names = layer_names
        # one number for layer, channel and ranking: rows of a concept are found without going through all
        self._radix = int(self._rows[:, 1].max(initial=0)) + 1
        keys = (self._rows[:, 0] * self._radix + self._rows[:, 1]) * len(RANKINGS) + self._rows[:, 2]
        self._order = keys.argsort(kind="stable")
        self._keys = keys[self._order]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()  # what went wrong between is the caller's: it says nothing about this file

    def concepts(self) -> list[Concept]:
        """List the concepts that have references, by layer and channel."""
        return list(dict.fromkeys(Concept(self._names[row[0]], row[1]) for row in self._rows[:, :2].tolist()))

    def read(self, concept: Concept, ranking: Ranking) -> list[Reference]:
        """Read a concept's references in one ranking, by rank; empty where there are none.

        Raises
        ------
        StoreError
            A picture lies in a damaged part of the file.
        """
        if concept.layer not in self._layers or concept.channel >= self._radix:
            return []
        key = (self._layers[concept.layer] * self._radix + concept.channel) * len(RANKINGS) + RANKINGS.index(ranking)
        first, last = np.searchsorted(self._keys, [key, key + 1])
        numbers = self._order[first:last].tolist()
        with _as_store_error(self._path):
            return [self._reference(concept, ranking, number) for number in numbers]

    def _reference(self, concept: Concept, ranking: Ranking, number: int) -> Reference:
        _, _, _, rank, sample_index, neuron, *box = self._rows[number].tolist()
        return Reference(
            concept=concept,
            ranking=ranking,
            rank=rank,
            sample_index=sample_index,
            neuron=neuron,
            score=float(self._score[number]),
            box=Box(*box),
            heatmap_scale=float(self._scale[number]),
            **{blob: self._blob(blob, number) for blob in _BLOBS},
        )

    def _blob(self, blob: str, number: int) -> bytes:
        item = self._item[blob][number]
        start, stop = self._offset[blob][item : item + 2]
        return bytes(self._data[blob][start:stop].tobytes())
