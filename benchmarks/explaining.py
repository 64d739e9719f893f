"""Explaining one photo: its attribution and the conditional heatmaps of the top concepts of the last convolution.

python -m benchmarks.explaining                    VGG16 at 224 px, 5 concepts, against zennit-crp
python -m benchmarks.explaining --size 64          a quick look
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from crp.attribution import CondAttribution
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import EpsilonPlusFlat

from benchmarks._contest import (
    choose_device,
    compete,
    conv_names,
    make_images,
    make_model,
    parser,
    print_setting,
    print_table,
)
from precompute.config import RelevanceConfig
from precompute.relevance.engine import GraphEngine

Result = dict[int, np.ndarray]


def plain(arguments: argparse.Namespace) -> Callable[[], Result]:
    """Run one plain forward and one plain backward pass to the pixels."""
    device = choose_device(arguments.device)
    module, image = make_model(arguments.model).to(device), make_images(1, arguments.size).to(device)

    def play() -> Result:
        pixels = image.clone().requires_grad_()
        logits = module(pixels)
        torch.autograd.grad(logits[0, int(logits.argmax())], pixels)
        return {}

    return play


def peer(arguments: argparse.Namespace) -> Callable[[], Result]:
    """Explain with zennit-crp: one attribution to rank the concepts, one batch of conditional ones."""
    device = choose_device(arguments.device)
    module, image = make_model(arguments.model).to(device), make_images(1, arguments.size).to(device)
    layer, attribution = conv_names(module)[-1], CondAttribution(module)
    composite = EpsilonPlusFlat(canonizers=[SequentialMergeBatchNorm()])

    def play() -> Result:
        with torch.no_grad():
            target = int(module(image).argmax())
        whole = attribution(image.clone().requires_grad_(), [{"y": [target]}], composite, record_layer=[layer])
        channels = whole.relevances[layer][0].sum((1, 2)).abs().argsort(descending=True)[: arguments.concepts].tolist()
        conditions = [{"y": [target], layer: [channel]} for channel in channels]
        found = attribution(image.clone().requires_grad_(), conditions, composite)
        return dict(zip(channels, found.heatmap.detach().cpu().numpy(), strict=True))

    return play


def ours(arguments: argparse.Namespace, precision: str, whole: bool) -> Callable[[], Result]:
    """Explain with the engine: the same, or only the concepts' heatmaps."""
    device = choose_device(arguments.device)
    module, image = make_model(arguments.model), make_images(1, arguments.size)
    names = conv_names(module)
    shape = (3, arguments.size, arguments.size)
    engine = GraphEngine(module, names, RelevanceConfig(precision=precision), shape, device)
    target = int(engine.logits(image).argmax())

    def rank() -> list[int]:
        relevance = engine.attribute(image, target)[1][names[-1]].relevance
        return relevance.abs().argsort(descending=True)[: arguments.concepts].tolist()

    known = rank()

    def play() -> Result:
        channels = rank() if whole else known
        concepts = [(names[-1], channel) for channel in channels]
        found = engine.attribute_concepts(image, target, concepts, {names[-1]: names[-2:-1]})
        return {channel: one.heatmap.cpu().numpy() for channel, one in zip(channels, found, strict=True)}

    return play


def main() -> None:
    """Run the contest and print the table."""
    arguments = parser(__doc__, warm_up=1, rounds=3)
    arguments.add_argument("--concepts", type=int, default=5)
    arguments = arguments.parse_args()
    print_setting(arguments)
    contestants: dict[str, Callable[..., Callable[[], Any]]] = {"plain forward + backward": plain}
    if not arguments.no_peer:
        contestants["zennit-crp"] = peer
    for name in arguments.precision:
        contestants[f"{name}, concepts' heatmaps"] = functools.partial(ours, precision=name, whole=False)
        contestants[f"{name}, with ranking"] = functools.partial(ours, precision=name, whole=True)
    outcomes = compete(contestants, arguments, arguments.rounds)
    reference = outcomes["plain forward + backward"].best
    theirs = outcomes["zennit-crp"].result if "zennit-crp" in outcomes else {}
    rows = []
    for name, outcome in outcomes.items():
        shared = [channel for channel in theirs if channel in outcome.result]
        off = [np.abs(outcome.result[c] - theirs[c]).max() / np.abs(theirs[c]).max() for c in shared]
        agreement = f"{max(off):.1e} ({len(shared)} concepts)" if off else ""
        rows.append(
            [name, f"{outcome.best:.3f}", f"{outcome.best / reference:.2f}", f"{outcome.memory:.2f}", agreement]
        )
    print_table(["", "s", "x plain", "peak GiB", "off the peer"], rows)


if __name__ == "__main__":
    main()
