"""From maps to channel scores: the one definition of a concept's score on a sample, used by every engine.

Owns the reduction over space, what a share is, and the type that sums are made in. Must not know files or engines.
"""

from __future__ import annotations

from typing import Literal

import torch

SHARE_FLOOR = 1e-10
"""Added to what shares are shares of, as zennit-crp 0.6.0 does it: the shares of nothing are 0."""


def share_of(values: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Divide relevance by the absolute relevance that it is stored as a share of."""
    return values / (whole + SHARE_FLOOR)


def summing_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the type in which values of a type are summed and reported: float64 stays, all else is float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def reduce_channels(
    maps: torch.Tensor, max_target: Literal["sum", "max"], normalised: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Reduce one layer's maps to a score and an arg-max neuron for every channel.

    Parameters
    ----------
    maps : (n, n_channels, height, width) or (n, n_channels) float
        Relevance or output; a linear layer's have no space.
    max_target : {"sum", "max"}
        Sum over space, or the value at the arg-max neuron.
    normalised : bool
        Divide by the sum of the layer's absolute channel scores.

    Returns
    -------
    scores : (n, n_channels) float, in the precision of `maps`, but at least float32
    neurons : (n, n_channels) int64
        Flat index h * width + w; the lowest among equals.
    """
    precise = summing_dtype(maps.dtype)
    if maps.dim() == 4:
        largest, neurons = _largest(maps)
        scores = maps.sum(dim=(2, 3), dtype=precise) if max_target == "sum" else largest.to(precise)
    else:
        scores, neurons = maps.to(precise, copy=True), torch.zeros_like(maps, dtype=torch.int64)
    return normalise(scores) if normalised else scores, neurons


def normalise(scores: torch.Tensor) -> torch.Tensor:
    """Divide (n, n_channels) scores by each row's sum of absolute scores."""
    return share_of(scores, scores.abs().sum(dim=-1, keepdim=True))


def _largest(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each channel's maximum over space and its lowest flat index.

    In two rounds, first the row and then the column, with the channels last: an arg-max over all of a frame at once
    costs as much as a convolution. `argmax` gives the first among equals, and the first row that holds the maximum
    holds its lowest flat index.
    """
    frame = maps.permute(0, 2, 3, 1)
    n, _, width, n_channels = frame.shape
    row = frame.amax(dim=2).argmax(dim=1)
    index = row.view(n, 1, 1, n_channels).expand(n, 1, width, n_channels)
    in_row = frame.gather(1, index).squeeze(1)
    column = in_row.argmax(dim=1)
    largest = in_row.gather(1, column.unsqueeze(1)).squeeze(1)
    return largest, row * width + column


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
