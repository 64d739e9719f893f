"""The reference engine: relevance by zennit's rules, for any model that zennit treats correctly.

Owns composites, canonizers and the hooks around them; the only module that imports zennit. Its results are those of
zennit-crp 0.6.0, which the tests compare it with. Must not know files or data sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from zennit.canonizers import Canonizer, SequentialMergeBatchNorm
from zennit.composites import EpsilonPlus, EpsilonPlusFlat
from zennit.core import BasicHook, Composite
from zennit.torchvision import ResNetBasicBlockCanonizer, ResNetBottleneckCanonizer

from precompute.config import RelevanceConfig
from precompute.errors import ModelError

from .channel_scores import choose_targets, reduce_channels, start_relevance
from .protocol import (
    BatchScores,
    ConditionalAttribution,
    LayerAttribution,
    LayerScores,
    ReferenceRequest,
)

DTYPES = {"float64": torch.float64, "float32": torch.float32}
HEATMAP_BATCH = 32
"""Reference heatmaps computed together; bounds the memory, not the result."""

_Modifier = Callable[[torch.Tensor, str], torch.Tensor]


class _Reached(Exception):  # noqa: N818 - a signal, not an error
    """Raised by the highest layer asked for, so that the forward pass ends there."""


def build_composite(config: RelevanceConfig) -> Composite:
    """Build the composite with the canonizers for merged batch norm and torchvision's residual sums."""
    canonizers: list[Canonizer] = [
        SequentialMergeBatchNorm(),
        ResNetBottleneckCanonizer(),
        ResNetBasicBlockCanonizer(),
    ]
    kinds = {"EpsilonPlusFlat": EpsilonPlusFlat, "EpsilonPlus": EpsilonPlus}
    composite = kinds[config.composite](canonizers=canonizers)
    if config.zero_params:
        for _, hook in (*composite.layer_map, *getattr(composite, "first_map", ())):
            if isinstance(hook, BasicHook):
                hook.param_modifiers = [_without_bias(modifier) for modifier in hook.param_modifiers]
    return composite


def _without_bias(modifier: _Modifier) -> _Modifier:
    def modify(parameter: torch.Tensor, name: str) -> torch.Tensor:
        return torch.zeros_like(parameter) if name == "bias" else modifier(parameter, name)

    return modify


class ZennitEngine:
    """Relevance of one model by zennit's composite.

    Parameters
    ----------
    module : nn.Module
        In eval mode; moved to the device and precision in place.
    layer_names : sequence of str
        The layers to score, in forward order.
    config : RelevanceConfig
    device : torch.device

    Raises
    ------
    ModelError
        A precision that this engine does not have.
    """

    name = "zennit"

    def __init__(
        self, module: nn.Module, layer_names: Sequence[str], config: RelevanceConfig, device: torch.device
    ) -> None:
        if config.precision not in DTYPES:
            raise ModelError(
                f"the zennit engine computes in {' or '.join(DTYPES)}, not in {config.precision!r}: "
                "set relevance.precision, or take a model that the sequential engine qualifies for"
            )
        self.layer_names = tuple(layer_names)
        self.config = config
        self._device = device
        self._dtype = DTYPES[config.precision]
        self._module = module.to(device=device, dtype=self._dtype).requires_grad_(False)
        self._composite = build_composite(config)

    # --- the protocol ------------------------------------------------------------------------------------------

    def score(self, images: torch.Tensor, labels: torch.Tensor) -> BatchScores:
        """Score every channel of every layer on a batch; see `Engine.score`."""
        images = self._input(images)
        with self._recording(self.layer_names) as outputs:
            logits = self._module(images)
            targets = choose_targets(logits.detach(), labels.to(self._device), self.config.target)
            maps = [outputs[name] for name in self.layer_names]
            relevances = torch.autograd.grad(logits, maps, start_relevance(logits.detach(), targets))
        layers = {
            name: self._layer_scores(relevance, output.detach())
            for name, relevance, output in zip(self.layer_names, relevances, maps, strict=True)
        }
        return BatchScores(logits.detach(), targets, layers)

    def reference_heatmaps(self, images: torch.Tensor, requests: Sequence[ReferenceRequest]) -> torch.Tensor:
        """Compute reference heatmaps; see `Engine.reference_heatmaps`."""
        heatmaps = torch.zeros(len(requests), *images.shape[-2:], dtype=self._dtype, device=self._device)
        groups: dict[tuple[str, bool], list[int]] = {}
        for position, request in enumerate(requests):
            groups.setdefault((request.layer, request.target is None), []).append(position)
        for (layer, at_layer), positions in groups.items():
            for start in range(0, len(positions), HEATMAP_BATCH):
                chunk = positions[start : start + HEATMAP_BATCH]
                asked = [requests[position] for position in chunk]
                batch = self._input(images[[request.image for request in asked]])
                heatmap = self._from_layer if at_layer else self._from_output
                heatmaps[chunk] = heatmap(batch, layer, asked)
        return heatmaps

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Compute (n, n_classes) logits by a plain forward pass."""
        with torch.no_grad():
            logits: torch.Tensor = self._module(images.to(self._device, self._dtype))
        return logits

    def attribute(self, image: torch.Tensor, target: int) -> tuple[torch.Tensor, Mapping[str, LayerAttribution]]:
        """Attribute one class of one image; see `Engine.attribute`."""
        image = self._input(image)
        with self._recording(self.layer_names) as outputs:
            logits = self._module(image)
            maps = [outputs[name] for name in self.layer_names]
            start = start_relevance(logits.detach(), torch.tensor([target], device=self._device))
            *relevances, pixels = torch.autograd.grad(logits, [*maps, image], start)
        layers = {
            name: LayerAttribution(_channel_sums(relevance)[0], _channel_sums(output.detach())[0])
            for name, relevance, output in zip(self.layer_names, relevances, maps, strict=True)
        }
        return pixels.sum(dim=1)[0], layers

    def attribute_concepts(
        self, image: torch.Tensor, target: int, concepts: Sequence[tuple[str, int]], inputs: Mapping[str, Sequence[str]]
    ) -> list[ConditionalAttribution]:
        """Attribute one class of one image through each concept; see `Engine.attribute_concepts`."""
        results: dict[int, ConditionalAttribution] = {}
        for layer in dict.fromkeys(layer for layer, _ in concepts):
            positions = [position for position, (name, _) in enumerate(concepts) if name == layer]
            channels = [concepts[position][1] for position in positions]
            found = self._through_channels(image, target, layer, channels, tuple(inputs.get(layer, ())))
            results.update(zip(positions, found, strict=True))
        return [results[position] for position in range(len(concepts))]

    # --- the passes --------------------------------------------------------------------------------------------

    def _from_layer(self, batch: torch.Tensor, layer: str, requests: Sequence[ReferenceRequest]) -> torch.Tensor:
        """Start at the layer with the activation of the channel (or of the single neuron)."""
        with self._recording((layer,), stop_at=layer) as outputs:
            self._forward_until_reached(batch)
            output = outputs[layer]
            start = output.detach() * _mask(output, requests)
            (pixels,) = torch.autograd.grad(output, batch, start)
        return pixels.sum(dim=1)

    def _from_output(self, batch: torch.Tensor, layer: str, requests: Sequence[ReferenceRequest]) -> torch.Tensor:
        """Start at the target's logit and mask the layer to the channel (or the single neuron)."""
        targets = torch.tensor([request.target for request in requests], device=self._device)
        with self._recording((layer,)) as outputs:
            logits = self._module(batch)
            output = outputs[layer]
            start = start_relevance(logits.detach(), targets)
            (relevance,) = torch.autograd.grad(logits, output, start, retain_graph=True)
            (pixels,) = torch.autograd.grad(output, batch, relevance * _mask(output, requests))
        return pixels.sum(dim=1)

    def _through_channels(
        self, image: torch.Tensor, target: int, layer: str, channels: Sequence[int], lower: tuple[str, ...]
    ) -> list[ConditionalAttribution]:
        requests = [ReferenceRequest(0, layer, channel, target=target) for channel in channels]
        batch = self._input(image.expand(len(requests), -1, -1, -1))
        with self._recording((layer, *lower)) as outputs:
            logits = self._module(batch)
            output = outputs[layer]
            start = start_relevance(logits.detach(), torch.full((len(requests),), target, device=self._device))
            (relevance,) = torch.autograd.grad(logits, output, start, retain_graph=True)
            masked = relevance * _mask(output, requests)
            pixels, *below = torch.autograd.grad(output, [batch, *(outputs[name] for name in lower)], masked)
        heatmaps, sums = pixels.sum(dim=1), [_channel_sums(relevance) for relevance in below]
        return [
            ConditionalAttribution(heatmaps[index], dict(zip(lower, (values[index] for values in sums), strict=True)))
            for index in range(len(requests))
        ]

    # --- hooks -------------------------------------------------------------------------------------------------

    def _input(self, images: torch.Tensor) -> torch.Tensor:
        return images.detach().to(self._device, self._dtype).requires_grad_()

    def _layer_scores(self, relevance: torch.Tensor, output: torch.Tensor) -> LayerScores:
        options = (self.config.max_target, self.config.normalised)
        return LayerScores(*reduce_channels(relevance, *options), *reduce_channels(output, *options))

    @contextmanager
    def _recording(self, names: Sequence[str], stop_at: str = "") -> Iterator[dict[str, torch.Tensor]]:
        """Apply the composite and keep the outputs of the named layers."""
        outputs: dict[str, torch.Tensor] = {}

        def keep(name: str) -> Callable[[nn.Module, object, torch.Tensor], None]:
            def hook(module: nn.Module, arguments: object, output: torch.Tensor) -> None:
                outputs[name] = output
                if name == stop_at:
                    raise _Reached

            return hook

        with self._composite.context(self._module):
            handles = [self._module.get_submodule(name).register_forward_hook(keep(name)) for name in names]
            try:
                yield outputs
            finally:
                for handle in handles:
                    handle.remove()

    def _forward_until_reached(self, batch: torch.Tensor) -> None:
        try:
            self._module(batch)
        except _Reached:
            return


def _channel_sums(maps: torch.Tensor) -> torch.Tensor:
    return maps.double().flatten(start_dim=2).sum(dim=-1) if maps.dim() > 2 else maps.double()


def _mask(output: torch.Tensor, requests: Sequence[ReferenceRequest]) -> torch.Tensor:
    """One where the request's channel (and neuron) is, zero elsewhere; shape of `output`."""
    mask = torch.zeros_like(output).flatten(start_dim=2) if output.dim() > 2 else torch.zeros_like(output)[..., None]
    for position, request in enumerate(requests):
        mask[position, request.channel, slice(None) if request.neuron is None else request.neuron] = 1
    return mask.view_as(output)
