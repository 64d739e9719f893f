"""An atlas's tables and reference heatmaps beside those of zennit-crp 0.6.0, in float64, on the same photos.

Owns what is compared, and which networks zennit-crp treats rightly. Entries of score exactly 0 have no defined order in
the peer and are left out. Must not know how zennit is called.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torchvision
from torch import nn

from precompute.config import Config
from precompute.errors import ConfigError, UnsupportedModel
from precompute.images.dataset import load_input, normalise
from precompute.inputs import Inputs
from precompute.network.graph import Node
from precompute.network.layers import find_layers
from precompute.progress import SilentReporter
from precompute.records import RANKINGS, Ranking, RankingTable
from precompute.relevance.operations import Convolution, Linear
from precompute.relevance.protocol import ReferenceRequest
from precompute.stages.mining import ALL, ShardMiner, ShardPlan, merge_plan

TOLERANCES = {"score": 1e-9, "heatmap": 1e-6}
"""Largest deviations over the largest value in float64; heatmaps are of photos with noise, see `compare`."""

_ANYWHERE = frozenset({"relu", "max_pool2d", "view", "flatten", "squeeze", "cat"})
"""Operations whose plain gradient is the rule, or of which zennit finds the module."""
_AS_MODULES = {
    "conv2d": "Conv2d",
    "linear": "Linear",
    "avg_pool2d": "AvgPool2d",
    "adaptive_avg_pool2d": "AdaptiveAvgPool2d",
}


def load_peer() -> ModuleType:
    """Import what calls zennit-crp; raises ConfigError where that is not installed."""
    try:
        from . import peer  # noqa: PLC0415 - for development, so that not everybody has it
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("crp", "zennit"):
            raise
        raise ConfigError(
            "atlas agree compares with zennit-crp, which is not installed: pip install zennit-crp==0.6.0 zennit==0.4.6"
        ) from error
    return peer


def require_right(inputs: Inputs) -> None:
    """Refuse a network that zennit-crp treats wrongly, by what is known of it: a comparison would say nothing.

    It has rules for modules alone, merges each batch norm into the module registered before it, gives Flat to the first
    registered layer, and knows the sums of torchvision's ResNets and no others.

    Raises
    ------
    UnsupportedModel
        Names the first such place.
    """
    reason = next(_find_wrong(inputs), "")
    if reason:
        raise UnsupportedModel(
            f"zennit-crp does not treat {inputs.model.name} rightly, so there is nothing to compare with: {reason}. "
            "`atlas check` proves the network by itself"
        )


def _find_wrong(inputs: Inputs) -> Iterator[str]:
    module, given, rules = inputs.model.module, inputs.config.relevance, inputs.engine.assignment
    if given.gates != "signal" or given.zero_params:
        yield "it does not know what relevance.gates and relevance.zero_params say"
    for node, rule in zip(rules.graph.nodes, rules.rules, strict=True):
        if rule.signals and not _treats(node, module):
            yield f"{node.where} computes {node.operation!r}, for which it has no rule there"
        if not rule.signals and node.name in rules.facts.data:
            yield f"{node.where} is part of a gate, which it does not know"
    layers, leaves = find_layers(rules.graph), [(n, p) for n, p in module.named_modules() if not any(p.children())]
    for (before, _), (name, part) in zip([("", None), *leaves], leaves, strict=False):
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            merged = {value for layer in (before, name) if layer in layers for value in layers[layer].values}
            if before not in layers or name not in layers or not merged <= set(layers[before].values):
                yield f"{name} is not registered right behind what it normalises"
    firsts = {node.calls[-1].path for node, rule in _weighted(inputs) if rule.first in rules.facts.raw}
    registered = next((n for n, p in leaves if isinstance(p, nn.Conv2d | nn.Linear)), "")
    if given.composite == "EpsilonPlusFlat" and firsts != {registered}:
        yield f"it gives Flat to {registered!r}, which is registered first, and not to what the image reaches first"


def _treats(node: Node, module: nn.Module) -> bool:
    kind = node.calls[-1].kind if node.calls else ""
    if node.operation == "add":
        return type(module) is torchvision.models.ResNet and kind in ("BasicBlock", "Bottleneck")
    return node.operation in _ANYWHERE or _AS_MODULES.get(node.operation, "-") == kind


def _weighted(inputs: Inputs) -> Iterator[tuple[Node, Convolution | Linear]]:
    for node, rule in inputs.engine.network.steps:
        if isinstance(rule, Convolution | Linear) and rule.signals:
            yield node, rule


def rules_by_module(inputs: Inputs) -> dict[str, str]:
    """Name the rule of each convolution and linear layer by its module."""
    return {node.calls[-1].path: rule.by for node, rule in _weighted(inputs)}


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
    made : Composite
        zennit's.
    """

    inputs: Inputs
    images: torch.Tensor
    theirs: Any
    n_channels: int
    made: Any


def compare(config: Config, n_samples: int, n_channels: int) -> list[Agreement]:
    """Mine `n_samples` samples both ways; compares the heatmaps of `n_channels` channels spread over each layer.

    Raises
    ------
    ConfigError
        zennit-crp is not installed.
    UnsupportedModel
        zennit-crp does not treat this network rightly.
    """
    peer = load_peer()
    config = dataclasses.replace(
        config,
        dataset=dataclasses.replace(config.dataset, limit=n_samples),
        relevance=dataclasses.replace(config.relevance, precision="float64", shares="layer", activation="sum"),
    )
    inputs = Inputs(config, config.path.parent / config.name / "cache")
    config = inputs.config
    names = tuple(info.name for info in inputs.layers)
    require_right(inputs)
    with tempfile.TemporaryDirectory() as folder:
        plan = ShardPlan(Path(folder) / "ours", tuple(inputs.dataset.names[:n_samples]), config.mining.shard_size, "")
        ShardMiner(inputs.dataset, inputs.engine, inputs.tables, config, inputs.device).mine(
            plan, ALL, SilentReporter()
        )
        atlas = merge_plan(plan, {})
        pixels = [torch.from_numpy(load_input(inputs.dataset, index, config)) for index in range(n_samples)]
        images = normalise(torch.stack(pixels), config.preprocessing, torch.float64)
        module = inputs.model.module.double()
        residual = type(module) is torchvision.models.ResNet
        given = config.relevance
        rules = {layer: rule for layer, rule in rules_by_module(inputs).items() if given.rules}
        made = peer.composite(residual, name=given.composite, rules=rules)
        theirs = peer.run(
            peer.with_exact_norms(module),
            images,
            atlas.samples.target,
            names,
            Path(folder) / "peer",
            batch_size=n_samples,
            made=made,
        )
        # flat regions give a max pooling equal inputs, and rounding decides who wins: noise decides alike for both
        images = images + 1e-7 * torch.randn(
            images.shape, generator=torch.Generator().manual_seed(0), dtype=images.dtype
        )
        theirs.dataset = peer.ListDataset(images, atlas.samples.target)
        contest = Contest(inputs, images, theirs, n_channels, made)
        return [
            _compare_table(contest, name, ranking, atlas.layers[name].ranking(ranking))
            for name in names
            for ranking in RANKINGS
        ]


def _compare_table(contest: Contest, name: str, ranking: Ranking, table: RankingTable) -> Agreement:
    samples, scores, neurons = load_peer().table(contest.theirs, name, ranking)
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
        peers = load_peer().reference_heatmaps(
            contest.theirs, name, channel, n=1, rf=True, ranking=ranking, made=contest.made
        )[0]
        worst = max(worst, float((ours - peers).abs().max() / peers.abs().max().clamp(min=1e-300)))
    return worst


def find_disagreement(rows: list[Agreement]) -> str:
    """Say what differs by more than rounding; empty where nothing does."""
    wrong = [
        f"{row.layer} {row.ranking}"
        for row in rows
        if row.n_samples_differ
        or row.n_neurons_differ
        or row.score_deviation > TOLERANCES["score"]
        or row.heatmap_deviation > TOLERANCES["heatmap"]
    ]
    return ", ".join(wrong)
