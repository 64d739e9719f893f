"""From maps to channel scores: the one definition of a concept's score on a sample, used by every engine.

Owns the reduction over space and the normalisation. Must not know files or engines.
"""

from __future__ import annotations

from typing import Literal

import torch

NORMALISATION_FLOOR = 1e-10
"""Added to the sum of absolute channel scores, as zennit-crp 0.6.0 does it."""


def reduce_channels(
    maps: torch.Tensor, max_target: Literal["sum", "max"], normalised: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Reduce one layer's maps to a score and an arg-max neuron for every channel.

    Parameters
    ----------
    maps : (n, n_channels, ...) float
        Relevance or pre-ReLU output; a linear layer's have no space.
    max_target : {"sum", "max"}
        Sum over space, or the value at the arg-max neuron.
    normalised : bool
        Divide by the sum of the layer's absolute channel scores.

    Returns
    -------
    scores : (n, n_channels) float, in the precision of `maps`
    neurons : (n, n_channels) int64
        Flat index h * width + w; the lowest among equals.
    """
    flat = maps.flatten(start_dim=2) if maps.dim() > 2 else maps.unsqueeze(-1)
    neurons = flat.argmax(dim=-1)
    scores = flat.sum(dim=-1) if max_target == "sum" else flat.gather(-1, neurons.unsqueeze(-1)).squeeze(-1)
    if normalised:
        scores = scores / (scores.abs().sum(dim=-1, keepdim=True) + NORMALISATION_FLOOR)
    return scores, neurons


def choose_targets(logits: torch.Tensor, labels: torch.Tensor, target: Literal["label", "prediction"]) -> torch.Tensor:
    """Choose the class to explain for each sample: its label, or the prediction where there is none.

    Parameters
    ----------
    logits : (n, n_classes) float
    labels : (n,) int64
        Negative where a sample has no label.

    Returns
    -------
    (n,) int64
    """
    predictions = logits.argmax(dim=-1)
    if target == "prediction":
        return predictions
    return torch.where(labels >= 0, labels, predictions)


def start_relevance(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Build the relevance at the output: the raw logit of the target, zero elsewhere; shape of `logits`."""
    index = targets.unsqueeze(-1)
    return torch.zeros_like(logits).scatter(-1, index, logits.gather(-1, index))
