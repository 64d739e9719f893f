"""Mining against zennit-crp: both rankings of every convolution over the same photos, tables written to disk.

python -m benchmarks.mining                            64 photos, VGG16 at 224 px: minutes
python -m benchmarks.mining --images 8 --size 64       a quick look
python -m benchmarks.mining --precision float32 bf16   what a lower precision costs in agreement
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from crp.attribution import CondAttribution
from crp.concepts import ChannelConcept
from crp.visualization import FeatureVisualization
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import EpsilonPlusFlat

from benchmarks._contest import (
    choose_device,
    compete,
    conv_names,
    forward_costs,
    make_images,
    make_model,
    matmul_contestant,
    parser,
    print_setting,
    print_table,
)
from precompute.atlas.hdf5 import write_atlas
from precompute.config import RelevanceConfig
from precompute.mining.tables import ShardAccumulator, Tables
from precompute.relevance.engine import GraphEngine

TOP = 40
"""Entries that both keep for each channel; how many of them are compared says `n_compared`."""
Table = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]


def peer(arguments: argparse.Namespace) -> Callable[[], Table]:
    """Mine with zennit-crp's FeatureVisualization.run, at its best: images in memory, on its device."""
    device = choose_device(arguments.device)
    module = make_model(arguments.model).to(device)
    names, images = conv_names(module), make_images(arguments.images, arguments.size)
    labels = [i % 1000 for i in range(len(images))]
    data = list(zip(images, labels, strict=True))

    def play() -> Table:
        quiet = io.StringIO()
        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.redirect_stdout(quiet),
            contextlib.redirect_stderr(quiet),
        ):
            warnings.simplefilter("ignore")
            layer_map = {name: ChannelConcept() for name in names}
            found = FeatureVisualization(CondAttribution(module), data, layer_map, path=folder)
            composite = EpsilonPlusFlat(canonizers=[SequentialMergeBatchNorm()])
            found.run(composite, 0, len(data), arguments.batch, 10**6)
            return {
                f"{ranking}/{name}": tuple(np.load(path / f"{name}_{part}.npy") for part in ("data", "rel", "rf"))
                for ranking, path in (("relmax", found.RelMax.PATH), ("actmax", found.ActMax.PATH))
                for name in names
            }

    return play


def ours(arguments: argparse.Namespace, precision: str) -> Callable[[], Table]:
    """Mine with the engine and the project's own tables."""
    device = choose_device(arguments.device)
    dtype = torch.float64 if precision == "float64" else torch.float32
    module, shape = make_model(arguments.model, dtype), (3, arguments.size, arguments.size)
    names, images = conv_names(module), make_images(arguments.images, arguments.size)
    labels = torch.arange(len(images)) % 1000
    engine = GraphEngine(module, names, RelevanceConfig(precision=precision, activation="sum"), shape, device)
    tables = Tables(engine.describe(), tuple(map(str, range(1000))), TOP, True)

    def play() -> Table:
        n = len(images)
        shard = ShardAccumulator(tables, 0, n, names=list(map(str, range(n))), labels=labels.numpy(), device=device)
        for start in range(0, n, arguments.batch):
            part = slice(start, start + arguments.batch)
            shard.add(torch.arange(n)[part], engine.score(images[part], labels[part]))
        with tempfile.TemporaryDirectory() as folder:
            atlas = shard.finish("benchmark", {})
            write_atlas(Path(folder) / "atlas.h5", atlas)
        return {
            f"{ranking}/{name}": (table.sample_index, table.score, table.neuron)
            for name, layer in atlas.layers.items()
            for ranking, table in (("relmax", layer.relmax), ("actmax", layer.actmax))
        }

    return play


def n_compared(n_images: int) -> int:
    """Return how many top entries to compare: few beside the images, as chance alone keeps the share k / images."""
    return min(TOP, max(1, n_images // 8))


def compare(found: Table, expected: Table, ranking: str, k: int) -> tuple[float, float]:
    """Return the share of the top `k` entries kept (zero scores aside) and the largest deviation of a score."""
    kept = n_entries = 0
    deviation = 0.0
    for key, (samples, scores, _) in expected.items():
        if not key.startswith(ranking):
            continue
        our_samples, our_scores, _ = found[key]
        deviation = max(deviation, float(np.abs(our_scores[: len(scores)] - scores).max() / np.abs(scores).max()))
        for channel in range(samples.shape[1]):
            wanted = set(samples[:k, channel][scores[:k, channel] != 0].tolist())
            kept += len(wanted & set(our_samples[:k, channel].tolist()))
            n_entries += len(wanted)
    return kept / max(n_entries, 1), deviation


def needed(arguments: argparse.Namespace) -> float:
    """Count the multiply-adds of one image: forward, z and spread of every layer above the lowest."""
    module = make_model(arguments.model)
    costs = forward_costs(module, arguments.size)
    lowest = conv_names(module)[0]
    linear = sum(cost for name, cost in costs.items() if name not in conv_names(module))
    return 3.0 * sum(costs.values()) - 2 * costs[lowest] - linear


def main() -> None:
    """Run the contest and print the table."""
    arguments = parser(__doc__, warm_up=0)
    arguments.add_argument("--images", type=int, default=64)
    arguments.add_argument("--batch", type=int, default=16)
    arguments = arguments.parse_args()
    if arguments.images % arguments.batch == 1:
        raise SystemExit("zennit-crp crashes on a last batch of one: choose --images and --batch otherwise")
    print_setting(arguments)
    contestants: dict[str, Callable[..., Callable[[], Any]]] = {} if arguments.no_peer else {"zennit-crp": peer}
    contestants |= {name: functools.partial(ours, precision=name) for name in arguments.precision}
    contestants["matmul"] = matmul_contestant
    outcomes = compete(contestants, arguments, arguments.rounds)
    peak = outcomes.pop("matmul").result
    baseline = outcomes.get("zennit-crp", outcomes[arguments.precision[0]])
    rows, k = [], n_compared(arguments.images)
    for name, outcome in outcomes.items():
        agreement = [compare(outcome.result, baseline.result, ranking, k) for ranking in ("relmax", "actmax")]
        speed = arguments.images / outcome.best
        rows.append([
            name, f"{speed:.2f}", f"{baseline.best / outcome.best:.2f}", f"{outcome.memory:.2f}",
            f"{speed * needed(arguments) / peak:.0%}", *(f"{kept:.2%} / {off:.1e}" for kept, off in agreement),
        ])  # fmt: skip
    shares = [f"{ranking} top {k} kept / off" for ranking in ("RelMax", "ActMax")]
    print_table(["", "images/s", "x baseline", "peak GiB", "of matmul peak", *shares], rows)


if __name__ == "__main__":
    main()
