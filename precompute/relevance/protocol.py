"""The engine interface: what a relevance engine takes and gives.

Owns the protocol and its records. Must not know files, data sets or pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import torch

from precompute.records import ConservationProof

from .cut import Split
from .intervention import Intervention


@dataclass(frozen=True, eq=False)
class LayerScores:
    """Channel scores of one batch at one layer.

    Attributes
    ----------
    relevance, activation : (n, n_channels) float
        Sum over space of the channel's relevance ("max": the value at the arg-max neuron), and its activation as
        `RelevanceConfig.activation` says; divided as `RelevanceConfig.scores` says: relevance by the absolute
        relevance of all channels of the cut, activation by the layer's sum of absolute channel scores, + 1e-10.
    relevance_neuron, activation_neuron : (n, n_channels) int64
        Flat arg-max neuron h * width + w; the lowest index among equals.
    """

    relevance: torch.Tensor
    relevance_neuron: torch.Tensor
    activation: torch.Tensor
    activation_neuron: torch.Tensor


@dataclass(frozen=True, eq=False)
class BatchScores:
    """What mining needs of one batch.

    Attributes
    ----------
    logits : (n, n_classes) float
    targets : (n,) int64
        The classes explained: the label, or the prediction where the label is negative.
    layers : mapping of layer name to LayerScores
    """

    logits: torch.Tensor
    targets: torch.Tensor
    layers: Mapping[str, LayerScores]

    @classmethod
    def joined(cls, parts: Sequence[BatchScores]) -> BatchScores:
        """Join the scores of pieces of one batch, in their order."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            torch.cat([part.logits for part in parts]),
            torch.cat([part.targets for part in parts]),
            {
                name: LayerScores(
                    *(
                        torch.cat([getattr(part.layers[name], field.name) for part in parts])
                        for field in fields(LayerScores)
                    )
                )
                for name in parts[0].layers
            },
        )


@dataclass(frozen=True)
class ReferenceRequest:
    """One reference heatmap asked for.

    Attributes
    ----------
    image : int
        Position in the batch of images handed over.
    layer : str
    channel : int
    neuron : int or None
        Flat neuron to start from; None starts from the channel's whole map.
    target : int or None
        None starts at the concept's own layer with its activation; a class starts at the output and masks the layer.
    """

    image: int
    layer: str
    channel: int
    neuron: int | None = None
    target: int | None = None


@dataclass(frozen=True, eq=False)
class LayerAttribution:
    """Relevance and activation of one photo at one layer, for one target.

    Attributes
    ----------
    relevance : (n_channels,) float64
        Signed sums over space, not normalised, in units of the logit.
    activation : (n_channels,) float64
        As `RelevanceConfig.activation` says, not divided.
    split : Split
        Of the logit over the cut at the layer: `split.absolute` is what a channel's share is a share of.
    """

    relevance: torch.Tensor
    activation: torch.Tensor
    split: Split


@dataclass(frozen=True, eq=False)
class ConditionalAttribution:
    """Attribution masked to one concept on its way down from the target.

    Attributes
    ----------
    heatmap : (height, width) float
        Signed relevance summed over colour, not normalised.
    lower_relevance : mapping of layer name to (n_channels,) float64
        Relevance that reached each channel of the concept's input layers (`LayerInfo.inputs`).
    """

    heatmap: torch.Tensor
    lower_relevance: Mapping[str, torch.Tensor]


class Engine(Protocol):
    """A relevance engine for one model, one composite and one selection of layers.

    Images are (n, 3, height, width) tensors, preprocessed (normalised), on any device and of any float type; the
    engine moves them to its own device and precision.
    """

    name: str
    layer_names: tuple[str, ...]

    def score(self, images: torch.Tensor, labels: torch.Tensor) -> BatchScores:
        """Score every channel of every layer on a batch; `labels` (n,) int64, negative where there is none."""
        ...

    def reference_heatmaps(self, images: torch.Tensor, requests: Sequence[ReferenceRequest]) -> torch.Tensor:
        """Compute (n_requests, height, width) heatmaps, in the order of the requests."""
        ...

    def prove(self, images: torch.Tensor, logits: torch.Tensor) -> float:
        """Compare logits that `score` gave with the model's own; returns the largest difference over the largest.

        Raises
        ------
        UnsupportedModel
            They are others: what is explained is not the model.
        """
        ...

    def conserve(self, image: torch.Tensor, target: int, sample_index: int) -> ConservationProof:
        """Follow all relevance of one class of one (1, channels, height, width) image, in float64.

        Raises
        ------
        UnsupportedModel
            Some of it goes astray.
        """
        ...

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Compute (n, n_classes) logits by a plain forward pass, and prove them."""
        ...

    def intervene(self, images: torch.Tensor, layer: str) -> Intervention:
        """Run images as far as a layer, so that its channels can be switched off."""
        ...

    def attribute(self, image: torch.Tensor, target: int) -> tuple[torch.Tensor, Mapping[str, LayerAttribution]]:
        """Attribute one class of one (1, 3, height, width) image.

        Returns
        -------
        heatmap : (height, width) float
        layers : mapping of layer name to LayerAttribution
        """
        ...

    def attribute_concepts(
        self,
        image: torch.Tensor,
        target: int,
        concepts: Sequence[tuple[str, int]],
        inputs: Mapping[str, Sequence[str]],
    ) -> list[ConditionalAttribution]:
        """Attribute one class of one image through each of the (layer, channel) concepts, in their order.

        `inputs` names the lower layers to record for each concept's layer.
        """
        ...
