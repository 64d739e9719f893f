"""Mining with files: what is missing is mined shard by shard, and the shards are merged into ``atlas.h5``.

Owns which samples make a shard, which machine mines it, and resuming. Must not know what a score is.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from precompute.atlas.hdf5 import read_atlas, write_atlas
from precompute.atlas.json_records import parse
from precompute.config import Config
from precompute.errors import ConfigError, DataError, StoreError
from precompute.images.dataset import Batch, Dataset, iter_batches, normalise
from precompute.mining.tables import ShardAccumulator, Tables, merge_shards
from precompute.progress import Reporter
from precompute.records import Atlas, ConservationProof
from precompute.relevance.choice import input_dtype
from precompute.relevance.protocol import Engine


@dataclass(frozen=True)
class ShardSubset:
    """Which part of the shards a machine mines: those whose number leaves `index` when divided by `count`."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> ShardSubset:
        """Read ``i/n``, i from 1 to n.

        Raises
        ------
        ConfigError
            It is not of that form.
        """
        first, _, second = text.partition("/")
        if not (first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
            raise ConfigError(f"--shard is {text!r}, expected i/n with i from 1 to n, for example 1/4")
        return cls(int(first) - 1, int(second))


ALL = ShardSubset()

_REMEDY = (
    "Copy the right file there, or move it away and run `atlas mine` (on its machine, with its --shard), "
    "then merge again"
)


@dataclass(frozen=True)
class ShardPlan:
    """How the samples are cut into shards, and where these lie.

    Attributes
    ----------
    folder : Path
    names : tuple of str
        Of all samples.
    shard_size : int
    mining_digest : str
        Of everything that the shards depend on; each carries it.
    part_digest : str
        Of how they are computed as well, where several machines have to agree on that; empty where one computes.
    """

    folder: Path
    names: tuple[str, ...]
    shard_size: int
    mining_digest: str
    part_digest: str = ""

    @property
    def n_samples(self) -> int:
        """Number of samples of all shards."""
        return len(self.names)

    @property
    def n_shards(self) -> int:
        """Number of shards."""
        return -(-self.n_samples // self.shard_size)

    def path(self, number: int) -> Path:
        """Return the file of one shard."""
        of = f"-{self.part_digest[:16]}" if self.part_digest else ""
        return self.folder / f"{number:06d}{of}.h5"

    def samples(self, number: int) -> range:
        """Return the sample indices of one shard."""
        return range(number * self.shard_size, min((number + 1) * self.shard_size, self.n_samples))

    def origin(self, number: int) -> dict[str, object]:
        """Return what the provenance of one shard has to say."""
        samples = self.samples(number)
        computed = {"part_digest": self.part_digest} if self.part_digest else {}
        return {
            **computed,
            "mining_digest": self.mining_digest,
            "shard": number,
            "start": samples.start,
            "stop": samples.stop,
        }

    def missing(self, part: ShardSubset = ALL) -> list[int]:
        """List the shards of a part that are not there yet, ascending."""
        return [number for number in range(part.index, self.n_shards, part.count) if not self.path(number).is_file()]


FIRST_PROVED, EVERY = 16, 16
"""First samples of a data set whose logits are always compared with the model's, and of how many others one is."""


def is_proved(index: int) -> bool:
    """Whether the logits of a sample are compared with the model's: the first always, others by chance.

    The same samples whatever the batches are and whoever mines.
    """
    drawn = int.from_bytes(hashlib.sha256(str(index).encode()).digest()[:4]) % EVERY == 0
    return index < FIRST_PROVED or drawn


N_CONSERVED = 2
"""Usable ones of the first samples whose relevance is followed through every operation, in float64."""


@dataclass
class Proof:
    """What was proved of the network while it was mined.

    Attributes
    ----------
    logits_compared : int
        Samples.
    logits_off : float
        The largest difference between a logit of the graph that is explained and the model's own, over the largest
        absolute logit.
    followed : list of ConservationProof
        One for each sample whose relevance was followed, ascending.
    """

    logits_compared: int = 0
    logits_off: float = 0.0
    followed: list[ConservationProof] = field(default_factory=list)

    def add(self, off: float, n: int) -> None:
        """Count `n` samples more."""
        self.logits_compared, self.logits_off = self.logits_compared + n, max(self.logits_off, off)

    def wants(self, index: int) -> bool:
        """Whether the relevance of a sample is to be followed: of the first of a data set, whatever the shards are."""
        return index < FIRST_PROVED and len(self.followed) < N_CONSERVED

    def of_shard(self) -> dict[str, object]:
        """Return what the provenance of one shard says."""
        return {**self._compared, "followed": [dataclasses.asdict(found) for found in self.followed]}

    def join(self, shard: Mapping[str, Any]) -> None:
        """Add what the provenance of one shard says; shards come in their order."""
        self.add(float(shard.get("logits_off", 0)), int(shard.get("logits_compared", 0)))
        found = [parse(part, ConservationProof) for part in shard.get("followed", ())]
        self.followed = [*self.followed, *(one for one in found if one)][:N_CONSERVED]

    def of_atlas(self) -> dict[str, object]:
        """Return what the provenance of the atlas says."""
        if not self.followed:
            return self._compared
        return {**self._compared, "conservation": dataclasses.asdict(ConservationProof.joined(self.followed))}

    @property
    def _compared(self) -> dict[str, object]:
        return {"logits_compared": self.logits_compared, "logits_off": self.logits_off}


class ShardMiner:
    """Mines shards of one data set with one engine.

    Parameters
    ----------
    dataset : Dataset
    engine : Engine
    tables : Tables
    config : Config
    device : torch.device
        Where the engine computes; batches are sent there.
    """

    def __init__(self, dataset: Dataset, engine: Engine, tables: Tables, config: Config, device: torch.device) -> None:
        self._dataset, self._engine, self._tables = dataset, engine, tables
        self._config, self._device = config, device
        self._labels = torch.from_numpy(np.asarray(dataset.labels, dtype=np.int64))

    def mine(self, plan: ShardPlan, part: ShardSubset, reporter: Reporter) -> None:
        """Mine the missing shards of a part, each written whole as soon as it is done.

        Raises
        ------
        DataError
            Not one sample of the data set could be used.
        """
        missing = plan.missing(part)
        total = sum(len(plan.samples(number)) for number in range(part.index, plan.n_shards, part.count))
        self.mine_only(plan, missing, reporter, total)

    def mine_only(self, plan: ShardPlan, numbers: Sequence[int], reporter: Reporter, total: int = 0) -> None:
        """Mine these shards, as `mine`; `total` is the number of samples of which they are what is left."""
        todo = [index for number in numbers for index in plan.samples(number)]
        done = max(0, total - len(todo))
        if not todo:
            return
        config = dataclasses.replace(
            self._config, mining=dataclasses.replace(self._config.mining, shard_size=plan.shard_size)
        )
        batches = iter_batches(self._dataset, todo, config, pin_memory=self._device.type == "cuda")
        with reporter.track("mining", len(todo) + done, done=done, unit="img") as advance:
            for number, shard_batches in _by_shard(batches, plan.shard_size):
                self._mine_shard(plan, number, shard_batches, advance)

    def _mine_shard(
        self, plan: ShardPlan, number: int, batches: Iterator[Batch], advance: Callable[[int], None]
    ) -> None:
        samples = plan.samples(number)
        accumulator = ShardAccumulator(
            self._tables,
            samples.start,
            samples.stop,
            names=self._dataset.names[samples.start : samples.stop],
            labels=np.asarray(self._dataset.labels[samples.start : samples.stop]),
            device=self._device,
        )
        proof, skipped = Proof(), 0
        for batch in batches:
            accumulator.skip(batch.skipped)
            skipped += len(batch.skipped)
            self._score(batch, accumulator, proof)
            advance(len(batch.indices) + len(batch.skipped))
        provenance = {**plan.origin(number), **proof.of_shard(), "skipped": skipped}
        write_atlas(plan.path(number), accumulator.finish(self._config.name, provenance))

    def _score(self, batch: Batch, accumulator: ShardAccumulator, proof: Proof) -> None:
        """Score a batch; in float64 one sample at a time, so that no sum's order depends on the sample's neighbours."""
        dtype = input_dtype(self._config.relevance)
        images = batch.images.to(self._device, non_blocking=True)
        size = 1 if dtype == torch.float64 else max(1, len(batch.indices))
        for part in torch.split(torch.arange(len(batch.indices)), size):
            index = batch.indices[part]
            if len(index):
                inputs = normalise(images[part.to(images.device)], self._config.preprocessing, dtype)
                scores = self._engine.score(inputs, self._labels[index])
                accumulator.add(index, scores)
                chosen = torch.tensor([is_proved(int(one)) for one in index])
                if chosen.any():
                    rows = chosen.to(inputs.device)
                    proof.add(self._engine.prove(inputs[rows], scores.logits[rows]), int(chosen.sum()))
                for row, sample in enumerate(index.tolist()):
                    if proof.wants(sample):
                        target = int(scores.targets[row])
                        proof.followed.append(self._engine.conserve(inputs[row : row + 1], target, sample))


def _by_shard(batches: Iterator[Batch], shard_size: int) -> Iterator[tuple[int, Iterator[Batch]]]:
    """Group batches by the shard of their samples; each group has to be used up before the next."""
    pending: list[Batch] = list(_next(batches))

    def group(number: int) -> Iterator[Batch]:
        while pending and _shard_of(pending[0], shard_size) == number:
            yield pending.pop()
            pending.extend(_next(batches))

    while pending:
        number = _shard_of(pending[0], shard_size)
        yield number, group(number)


def _next(batches: Iterator[Batch]) -> Sequence[Batch]:
    batch = next(batches, None)
    return () if batch is None else (batch,)


def _shard_of(batch: Batch, shard_size: int) -> int:
    first = int(batch.indices[0]) if len(batch.indices) else min(batch.skipped)
    return first // shard_size


def merge_plan(plan: ShardPlan, provenance: dict[str, object]) -> Atlas:
    """Read all shards of a plan and merge them.

    Raises
    ------
    StoreError
        A shard is missing, damaged, or not the one that its name says.
    DataError
        Not one sample could be used.
    """
    missing = plan.missing()
    if missing:
        raise StoreError(
            f"{len(missing)} of {plan.n_shards} shards are not there yet, the first is {plan.path(missing[0])}. "
            "Run `atlas mine` (on every machine its --shard), copy the shards together, then merge again"
        )
    proof = Proof()

    def shards() -> Iterator[Atlas]:
        for number in range(plan.n_shards):
            shard = _read_shard(plan, number)
            proof.join(shard.provenance)
            yield shard

    atlas = merge_shards(shards(), provenance)
    atlas = dataclasses.replace(atlas, provenance={**provenance, **proof.of_atlas()})
    if not atlas.class_counts.sum():
        reasons = sorted(atlas.samples.skipped.items())[:3]
        listed = "; ".join(f"{atlas.samples.name[index]!r}: {reason}" for index, reason in reasons)
        raise DataError(f"none of the {plan.n_samples} samples could be used. The first: {listed}")
    return atlas


def _read_shard(plan: ShardPlan, number: int) -> Atlas:
    """Read one shard; raises StoreError where the file is damaged or is another shard."""
    path = plan.path(number)
    shard = read_atlas(path, _REMEDY)
    mistake = _mistake(shard, plan, number)
    if mistake:
        raise StoreError(f"{path} is not shard {number} of this atlas: {mistake}. {_REMEDY}")
    return shard


def _mistake(shard: Atlas, plan: ShardPlan, number: int) -> str:
    """Tell in what a shard differs from the one that should be there; empty where it does not."""
    for key, expected in plan.origin(number).items():
        found = shard.provenance.get(key)
        if found != expected:
            return f"found {key} {found!r}, expected {expected!r}"
    samples = plan.samples(number)
    names = plan.names[samples.start : samples.stop]
    if len(shard.samples.name) != len(names):
        return f"found {len(shard.samples.name)} samples, expected {len(names)}"
    pairs = zip(shard.samples.name, names, strict=True)
    return next((f"found sample {found!r}, expected {name!r}" for found, name in pairs if found != name), "")
