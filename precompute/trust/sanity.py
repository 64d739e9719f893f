"""What stays of concepts and heatmaps where they should not stay: with weights drawn anew, and for another class.

Owns the order in which weights are drawn anew, and the comparison. Knows engines through their interface; must not know
files or pages.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from precompute.records import FloatArray, LayerConservation, LayerStay, SanityCheck, SanityKind
from precompute.relevance.cut import Split
from precompute.relevance.protocol import Engine

from .statistics import mean_and_error, rank_correlation

N_FIRST = 5
"""Concepts with the largest absolute relevance that are compared."""


@dataclass(frozen=True, eq=False)
class Attributed:
    """What one image's class gave: a heatmap, and the relevance of each channel by layer.

    Attributes
    ----------
    heatmap : (height, width) float64
    relevance : mapping of str to (n_channels,) float64
    splits : mapping of str to Split
    """

    heatmap: FloatArray
    relevance: Mapping[str, FloatArray]
    splits: Mapping[str, Split]


def attribute_all(engine: Engine, images: torch.Tensor, targets: Sequence[int]) -> list[Attributed]:
    """Attribute one class of each of (n, 3, height, width) images."""
    found = []
    for place, target in enumerate(targets):
        heatmap, layers = engine.attribute(images[place : place + 1], target)
        found.append(
            Attributed(
                heatmap.double().cpu().numpy(),
                {name: item.relevance.double().cpu().numpy() for name, item in layers.items()},
                {name: item.split for name, item in layers.items()},
            )
        )
    return found


def modules_from_top(module: nn.Module, image: torch.Tensor) -> list[str]:
    """List the modules that have weights of their own, the one that runs last first.

    Parameters
    ----------
    module : nn.Module
    image : (1, 3, height, width) tensor
    """
    owners = {name: part for name, part in module.named_modules() if any(True for _ in part.parameters(recurse=False))}
    order: list[str] = []
    handles = [
        part.register_forward_pre_hook(lambda _module, _inputs, name=name: order.append(name))
        for name, part in owners.items()
    ]
    try:
        with torch.no_grad():
            module(image.to(next(iter(module.parameters()))))
    finally:
        for handle in handles:
            handle.remove()
    last = {name: place for place, name in enumerate(order)}
    return sorted(last, key=lambda name: -last[name])


def drawn_anew(module: nn.Module, names: Sequence[str], seed: int) -> nn.Module:
    """Copy a network and draw the weights of some of its modules anew.

    Each weight is drawn from a normal distribution with the mean and the spread of its tensor, so that values neither
    vanish nor grow on their way through many layers; running statistics stay.
    """
    changed = copy.deepcopy(module)
    for name, part in changed.named_modules():
        if name not in names:
            continue
        generator = torch.Generator().manual_seed(seed + sorted(names).index(name))
        for weights in part.parameters(recurse=False):
            if weights.numel() > 1:
                values = weights.detach().double()
                drawn = torch.randn(values.shape, generator=generator, dtype=torch.float64)
                weights.data.copy_(values.mean() + values.std() * drawn)
    return changed


def depths(n_modules: int, n: int) -> list[int]:
    """Choose how many modules from the top are drawn anew: n numbers, spread from one to all."""
    if n_modules < 1 or n < 1:
        return []
    if n == 1:
        return [n_modules]
    return sorted({round(1 + place * (n_modules - 1) / (n - 1)) for place in range(n)})


def check_weights(
    module: nn.Module,
    rebuild: Callable[[nn.Module], Engine],
    images: torch.Tensor,
    targets: Sequence[int],
    known: Sequence[Attributed],
    n_depths: int,
    seed: int,
) -> list[SanityCheck]:
    """Compare concepts and heatmaps with those of the network with more and more of its weights drawn anew."""
    names = modules_from_top(module, images[:1].cpu())
    found = []
    for depth in depths(len(names), n_depths):
        engine = rebuild(drawn_anew(module, names[:depth], seed))
        others = attribute_all(engine, images, targets)
        found.append(compare("weights", known, others, depth))
    return found


def compare(
    kind: SanityKind, known: Sequence[Attributed], others: Sequence[Attributed], n_modules: int = 0
) -> SanityCheck:
    """Compare what was attributed, image by image."""
    maps = [likeness(a.heatmap, b.heatmap) for a, b in zip(known, others, strict=True)]
    layers = []
    for layer in known[0].relevance:
        pairs = [(a.relevance[layer], b.relevance[layer]) for a, b in zip(known, others, strict=True)]
        stay, error = mean_and_error(np.asarray([share_that_stays(a, b) for a, b in pairs]))
        rhos = [rho for a, b in pairs if (rho := rank_correlation(a, b)) is not None]
        chance = min(1.0, N_FIRST / len(pairs[0][0]))
        layers.append(LayerStay(layer, stay, error, chance, float(np.mean(rhos)) if rhos else None))
    mean, error = mean_and_error(np.asarray(maps))
    return SanityCheck(kind, n_modules, len(known), min(1.0, mean), error, tuple(layers))


def share_that_stays(first: FloatArray, second: FloatArray) -> float:
    """Return how many of the `N_FIRST` concepts with the largest absolute relevance are among those of the other."""
    a, b = (np.argsort(-np.abs(values), kind="stable")[:N_FIRST] for values in (first, second))
    return len(np.intersect1d(a, b)) / len(a)


def likeness(first: FloatArray, second: FloatArray) -> float:
    """Return the absolute correlation (Pearson) of two heatmaps; 0 where one is constant or not finite."""
    a, b = (values.ravel() - values.mean() for values in (first, second))
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return abs(float((a * b).sum())) / scale if np.isfinite(scale) and scale > 0 else 0.0


def conservation(known: Sequence[Attributed]) -> tuple[LayerConservation, ...]:
    """Average over images where the logit went, in parts of the logit, at each layer's depth."""
    found = []
    for layer in known[0].splits:
        splits = [item.splits[layer] for item in known if item.splits[layer].logit != 0]
        if not splits:
            continue
        parts = np.asarray(
            [
                [item.own, sum(part.relevance for part in item.beside), item.biases, item.stabilisers, item.residual]
                for item in splits
            ]
        ) / np.asarray([[item.logit] for item in splits])
        own, beside, biases, stabilisers, _ = parts.mean(0).tolist()
        residual = float(np.abs(parts[:, 4]).max())
        found.append(LayerConservation(layer, len(splits), own, beside, biases, stabilisers, residual))
    return tuple(found)
