"""Compare an atlas's tables and reference heatmaps with zennit-crp 0.6.0, in float64, on the same photos.

    python -m benchmarks.agreement --config data/imagenet-sample.toml --samples 16

Mines the first samples of the config's data set twice, with `FeatureVisualization.run` and with the engine that the
config gets, and prints for each layer how many entries differ. Entries of score exactly 0 have no defined order in the
peer and are left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from precompute.config import Config, load_config
from precompute.images.dataset import load_input, normalise
from precompute.inputs import Inputs
from precompute.progress import SilentReporter
from precompute.records import RANKINGS, Ranking, RankingTable
from precompute.relevance.protocol import ReferenceRequest
from precompute.stages.mining import ALL, ShardMiner, ShardPlan, merge_plan
from tests import peer


@dataclass(frozen=True)
class Agreement:
    """How one ranking of one layer compares.

    Attributes
    ----------
    layer : str
    ranking : str
    n_entries : int
        Entries compared: those whose score is not exactly 0.
    n_samples_differ, n_neurons_differ : int
        Entries with another sample; entries of the same sample with another neuron.
    score_deviation : float
        Largest difference of a score over the largest score.
    heatmap_deviation : float
        Largest difference of a reference heatmap over its own maximum.
    """

    layer: str
    ranking: Ranking
    n_entries: int
    n_samples_differ: int
    n_neurons_differ: int
    score_deviation: float
    heatmap_deviation: float


@dataclass(frozen=True)
class Contest:
    """Both contestants over the same images.

    Attributes
    ----------
    inputs : Inputs
        Ours: the engine and the layers.
    images : torch.Tensor
        (n, 3, height, width) float64, normalised.
    theirs : FeatureVisualization
        zennit-crp's tables.
    n_channels : int
        Channels of each layer whose heatmaps are compared.
    residual : bool
        The network adds branches, so zennit-crp needs its canonizer.
    """

    inputs: Inputs
    images: torch.Tensor
    theirs: peer.FeatureVisualization
    n_channels: int
    residual: bool


def compare(config: Config, n_samples: int, n_channels: int) -> list[Agreement]:
    """Mine `n_samples` samples both ways; compares the heatmaps of `n_channels` channels spread over each layer."""
    config = dataclasses.replace(
        config,
        dataset=dataclasses.replace(config.dataset, limit=n_samples),
        relevance=dataclasses.replace(config.relevance, precision="float64", shares="layer", activation="sum"),
    )
    inputs = Inputs(config, config.path.parent / config.name / "cache")
    config = inputs.config
    names = tuple(info.name for info in inputs.layers)
    with tempfile.TemporaryDirectory() as folder:
        plan = ShardPlan(Path(folder) / "ours", tuple(inputs.dataset.names[:n_samples]), config.mining.shard_size, "")
        ShardMiner(inputs.dataset, inputs.engine, inputs.tables, config, inputs.device).mine(
            plan, ALL, SilentReporter()
        )
        atlas = merge_plan(plan, {})
        pixels = [torch.from_numpy(load_input(inputs.dataset, index, config)) for index in range(n_samples)]
        images = normalise(torch.stack(pixels), config.preprocessing, torch.float64)
        module = inputs.model.module.double()
        residual = "resnet" in config.model.factory
        theirs = peer.run(
            peer.with_exact_norms(module),
            images,
            atlas.samples.target,
            names,
            Path(folder) / "peer",
            batch_size=n_samples,
            residual=residual,
        )
        # flat regions give a max pooling equal inputs, and rounding decides who wins: noise decides alike for both
        images = images + 1e-7 * torch.randn(
            images.shape, generator=torch.Generator().manual_seed(0), dtype=images.dtype
        )
        theirs.dataset = peer.ListDataset(images, atlas.samples.target)
        contest = Contest(inputs, images, theirs, n_channels, residual)
        return [
            _compare_table(contest, name, ranking, atlas.layers[name].ranking(ranking))
            for name in names
            for ranking in RANKINGS
        ]


def _compare_table(contest: Contest, name: str, ranking: Ranking, table: RankingTable) -> Agreement:
    samples, scores, neurons = peer.table(contest.theirs, name, ranking)
    rows = min(len(samples), len(table.sample_index))
    samples, scores, neurons = samples[:rows], scores[:rows], neurons[:rows]
    compared = scores != 0
    same = table.sample_index[:rows] == samples
    return Agreement(
        name,
        ranking,
        int(compared.sum()),
        int((compared & ~same).sum()),
        int((compared & same & (table.neuron[:rows] != neurons)).sum()),
        float(np.abs(table.score[:rows] - scores).max() / max(np.abs(scores).max(), 1e-300)),
        _compare_heatmaps(contest, name, ranking, table),
    )


def _compare_heatmaps(contest: Contest, name: str, ranking: Ranking, table: RankingTable) -> float:
    worst = 0.0
    for channel in np.linspace(0, table.score.shape[1] - 1, contest.n_channels).astype(int).tolist():
        if table.score[0, channel] == 0:
            continue
        request = ReferenceRequest(int(table.sample_index[0, channel]), name, channel, int(table.neuron[0, channel]))
        ours = contest.inputs.engine.reference_heatmaps(contest.images, [request])[0]
        peers = peer.reference_heatmaps(
            contest.theirs, name, channel, n=1, rf=True, ranking=ranking, residual=contest.residual
        )[0]
        worst = max(worst, float((ours - peers).abs().max() / peers.abs().max().clamp(min=1e-300)))
    return worst


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--config", type=Path, default=Path("data/imagenet-sample.toml"))
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument(
        "--channels", type=int, default=4, help="reference heatmaps compared in each ranking of a layer"
    )
    parsed = parser.parse_args(arguments)
    config = load_config(parsed.config, parsed.overrides)
    print(f"{'layer':<24}{'ranking':<9}{'entries':>8}{'samples':>9}{'neurons':>9}{'score':>10}{'heatmap':>10}")
    for row in compare(config, parsed.samples, parsed.channels):
        print(
            f"{row.layer:<24}{row.ranking:<9}{row.n_entries:>8}{row.n_samples_differ:>9}{row.n_neurons_differ:>9}"
            f"{row.score_deviation:>10.1e}{row.heatmap_deviation:>10.1e}"
        )
    print("samples, neurons: entries that differ; score, heatmap: largest deviation over the largest value")


if __name__ == "__main__":
    main()
