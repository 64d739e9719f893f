"""Reference images: which pictures the rankings ask for, their heatmaps, and the rendered blocks.

Owns the plan by image (all concepts of one image together share its passes), resuming and the merge into
``references.h5``. Knows the engine through its interface; must not know how a picture is encoded or scored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from precompute.atlas.hdf5 import ReferenceReader, write_references
from precompute.config import Config, ReferencesConfig
from precompute.errors import ConfigError, DataError, ModelError
from precompute.images.dataset import Dataset, iter_batches, normalise
from precompute.images.pictures import encode_webp, render_reference
from precompute.network.layers import match_layers
from precompute.network.receptive_field import box as receptive_box
from precompute.progress import Reporter
from precompute.records import RANKINGS, Atlas, Box, Concept, LayerInfo, Ranking, Reference
from precompute.relevance.choice import input_dtype
from precompute.relevance.protocol import Engine, ReferenceRequest

BLOCK = 32
"""Images rendered and stored together; a finished block is never rendered again."""

REQUESTS = 256
"""Heatmaps held at a time."""

N_THREADS = 2
"""Threads that encode pictures; Pillow and NumPy release the interpreter. Processes took longer: each picture and its
heatmap would have to be sent to them."""


@dataclass(frozen=True)
class ReferenceJob:
    """One reference image to render."""

    concept: Concept
    ranking: Ranking
    rank: int
    sample_index: int
    neuron: int
    score: float
    heatmap: bool


def plan_references(atlas: Atlas, config: ReferencesConfig) -> dict[int, list[ReferenceJob]]:
    """List what to render, by sample.

    Silent entries are left out; `RankingTable.telling` says which these are.

    Raises
    ------
    ConfigError
        A pattern of `heatmap_layers` matches no layer.
    """
    try:
        with_heatmap = match_layers(tuple(atlas.layers), config.heatmap_layers)
    except ModelError as error:
        raise ConfigError(f"references.heatmap_layers, among the mined layers: {error}") from error
    plan: dict[int, list[ReferenceJob]] = {}
    for name, tables in atlas.layers.items():
        for ranking in RANKINGS:
            table = tables.ranking(ranking)
            for rank, channel in np.argwhere(table.telling(config.per_ranking)).tolist():
                wanted = ReferenceJob(
                    concept=Concept(name, channel),
                    ranking=ranking,
                    rank=rank,
                    sample_index=int(table.sample_index[rank, channel]),
                    neuron=int(table.neuron[rank, channel]),
                    score=float(table.score[rank, channel]),
                    heatmap=name in with_heatmap,
                )
                plan.setdefault(wanted.sample_index, []).append(wanted)
    return {index: plan[index] for index in sorted(plan)}


class Renderer:
    """Renders the reference images of one atlas, block by block.

    Parameters
    ----------
    dataset : Dataset
    engine : Engine
    atlas : Atlas
    config : Config
    """

    def __init__(self, dataset: Dataset, engine: Engine, atlas: Atlas, config: Config) -> None:
        self._dataset, self._engine, self._atlas, self._config = dataset, engine, atlas, config
        self._layers = {name: tables.info for name, tables in atlas.layers.items()}

    def render(self, folder: Path, reporter: Reporter) -> list[Path]:
        """Render the missing blocks into `folder`; returns the paths of all blocks in order."""
        plan = plan_references(self._atlas, self._config.references)
        samples = list(plan)
        blocks = [samples[start : start + BLOCK] for start in range(0, len(samples), BLOCK)]
        paths = [folder / f"{number:06d}.h5" for number in range(len(blocks))]
        todo = [number for number in range(len(blocks)) if not paths[number].exists()]
        n_total = sum(len(wanted) for wanted in plan.values())
        n_todo = sum(len(plan[index]) for number in todo for index in blocks[number])
        with reporter.track("references", n_total, done=n_total - n_todo, unit="ref") as advance:
            for number, images in zip(todo, self._images([blocks[number] for number in todo]), strict=True):
                write_references(paths[number], self._render_block(images, plan, advance), {"block": number})
        return paths

    def _images(self, blocks: Sequence[Sequence[int]]) -> Iterator[dict[int, torch.Tensor]]:
        """Yield the preprocessed uint8 images of each block by sample_index."""
        mining = dataclasses.replace(self._config.mining, shard_size=BLOCK, batch_size=BLOCK)
        config = dataclasses.replace(self._config, mining=mining)
        for batch in iter_batches(self._dataset, [index for block in blocks for index in block], config):
            if batch.skipped:
                index, reason = min(batch.skipped.items())
                raise DataError(
                    f"sample {self._dataset.names[index]!r} was mined but cannot be read any more: {reason}. "
                    "Put the image back, or remove the output folder and run again"
                )
            yield dict(zip(batch.indices.tolist(), batch.images, strict=True))

    def _render_block(
        self, images: Mapping[int, torch.Tensor], plan: Mapping[int, list[ReferenceJob]], advance: Callable[[int], None]
    ) -> list[Reference]:
        pictures = {index: np.ascontiguousarray(image.numpy().transpose(1, 2, 0)) for index, image in images.items()}
        tile = self._config.references.tile
        full = {index: encode_webp(picture, longer_side=tile) for index, picture in pictures.items()}
        references: list[Reference] = []
        with ThreadPoolExecutor(N_THREADS) as threads:
            for chunk in _chunks([wanted for index in images for wanted in plan[index]]):
                heatmaps = self._heatmaps(images, chunk)
                references += threads.map(
                    lambda wanted: self._reference(wanted, pictures, full, heatmaps),  # noqa: B023 - used up here
                    chunk,
                )
                advance(len(chunk))
        return references

    def _heatmaps(
        self, images: Mapping[int, torch.Tensor], chunk: Sequence[ReferenceJob]
    ) -> dict[ReferenceRequest, npt.NDArray[np.float64]]:
        """Compute each distinct heatmap of a chunk once."""
        indices = sorted({wanted.sample_index for wanted in chunk})
        position = {index: place for place, index in enumerate(indices)}
        requests = list(dict.fromkeys(self._request(wanted) for wanted in chunk if wanted.heatmap))
        if not requests:
            return {}
        dtype = input_dtype(self._config.relevance)
        batch = normalise(torch.stack([images[index] for index in indices]), self._config.preprocessing, dtype)
        placed = [dataclasses.replace(request, image=position[request.image]) for request in requests]
        heatmaps = self._engine.reference_heatmaps(batch, placed).double().cpu().numpy()
        return dict(zip(requests, heatmaps, strict=True))

    def _request(self, wanted: ReferenceJob) -> ReferenceRequest:
        """Name the heatmap of a reference; `image` holds the sample_index here."""
        start = self._config.references.start
        target = int(self._atlas.samples.target[wanted.sample_index]) if start == "output" else None
        neuron = wanted.neuron if start == "neuron" else None
        return ReferenceRequest(wanted.sample_index, wanted.concept.layer, wanted.concept.channel, neuron, target)

    def _reference(
        self,
        wanted: ReferenceJob,
        pictures: Mapping[int, npt.NDArray[np.uint8]],
        full: Mapping[int, bytes],
        heatmaps: Mapping[ReferenceRequest, npt.NDArray[np.float64]],
    ) -> Reference:
        picture = pictures[wanted.sample_index]
        rendered = render_reference(
            picture,
            heatmaps[self._request(wanted)] if wanted.heatmap else None,
            self._field(wanted, picture.shape[0], picture.shape[1]),
            self._config.references.tile,
            full=full[wanted.sample_index],
        )
        return Reference(
            concept=wanted.concept,
            ranking=wanted.ranking,
            rank=wanted.rank,
            sample_index=wanted.sample_index,
            neuron=wanted.neuron,
            score=wanted.score,
            **rendered._asdict(),
        )

    def _field(self, wanted: ReferenceJob, height: int, width: int) -> Box:
        info: LayerInfo = self._layers[wanted.concept.layer]
        field = info.receptive_field if self._config.references.start == "neuron" or not wanted.heatmap else None
        return receptive_box(field, wanted.neuron, info.width, height, width)


def _chunks(wanted: Sequence[ReferenceJob]) -> Iterator[Sequence[ReferenceJob]]:
    for start in range(0, len(wanted), REQUESTS):
        yield wanted[start : start + REQUESTS]


def merge_blocks(paths: Sequence[Path]) -> Iterator[Reference]:
    """Yield the references of all blocks, block by block."""
    for path in paths:
        with ReferenceReader(path) as reader:
            for concept in reader.concepts():
                for ranking in RANKINGS:
                    yield from reader.read(concept, ranking)
