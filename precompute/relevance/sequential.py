"""The fast exact relevance engine for sequential convnets.

Owns the direct pass: one forward that keeps only what the backward needs, one backward that stops at the lowest layer
asked for, and many conditional rows through one backward. Must not know zennit, files, data sets or pages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from precompute.config import RelevanceConfig
from precompute.errors import ModelError
from precompute.network import steps as chain

from .channel_scores import choose_targets, reduce_channels, start_relevance
from .composites import build_rules
from .neuron_heatmaps import CroppedHeatmaps, NeuronRequest
from .protocol import BatchScores, ConditionalAttribution, LayerAttribution, LayerScores, ReferenceRequest
from .rules import Kept

DTYPES = {"float64": torch.float64, "float32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}

ROWS_AT_ONCE = 16
"""Conditional rows in one backward over full frames; bounds the memory, not the result."""


@dataclass(frozen=True)
class Row:
    """One conditional backward pass over one image.

    Attributes
    ----------
    position : int
        Place in the chain of the layer that it is masked at.
    channel : int
    neuron : int or None
        Flat neuron; None keeps the channel's whole map.
    target : int or None
        Output class to start from; None starts at the layer itself with its activation.
    recorded : tuple of int
        Places of lower layers whose relevance is wanted.
    """

    position: int
    channel: int
    neuron: int | None = None
    target: int | None = None
    recorded: tuple[int, ...] = ()


class SequentialEngine:
    """Score, explain and render heatmaps for a chain of convolutions and the like, as zennit-crp defines them.

    Parameters
    ----------
    module : Module
        Never modified; its weights are shared where neither the precision nor a merged BatchNorm asks for a copy.
    layer_names : sequence of str
        Dotted paths of convolutions or linear layers.
    config : RelevanceConfig
    input_shape : (channels, height, width)
    device : torch.device

    Raises
    ------
    UnsupportedModel
        The module is no chain of supported steps (`chain.qualifies` says why not).
    ModelError
        A layer is not one of the chain's convolutions or linear layers.
    """

    name = "sequential"

    def __init__(
        self,
        module: nn.Module,
        layer_names: Sequence[str],
        config: RelevanceConfig,
        input_shape: tuple[int, int, int],
        device: torch.device,
    ) -> None:
        steps = chain.flatten(module, input_shape)
        self.layer_names = tuple(layer_names)
        self._config, self._input_shape, self._device = config, input_shape, device
        self._dtype = DTYPES[config.precision]
        self._positions = chain.find_layers(steps, layer_names)
        with torch.inference_mode():
            self._rules = build_rules(steps, config, device, self._dtype)
        self._cropped = CroppedHeatmaps(self._rules, input_shape)

    def score(self, images: torch.Tensor, labels: torch.Tensor) -> BatchScores:
        """Score every channel of every layer on a batch; `labels` (n,) int64, negative where there is none."""
        with self._computing():
            lowest = min(self._positions.values(), default=len(self._rules))
            names = {position: name for name, position in self._positions.items()}
            activation: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
            relevance: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
            kept: list[Kept] = []
            values = self._prepared(images)
            for position, rule in enumerate(self._rules):
                if position > lowest:
                    values, needed = rule.forward_keeping(values)
                    kept.append(needed)
                else:
                    values = rule.forward(values)
                if position in names:
                    activation[names[position]] = self._scores(values)
            logits = values
            targets = choose_targets(logits, labels.to(self._device), self._config.target)
            flow = start_relevance(logits, targets)
            del values
            for position in range(len(self._rules) - 1, lowest - 1, -1):
                if position in names:
                    relevance[names[position]] = self._scores(flow)
                if position > lowest:
                    flow = self._rules[position].backward(kept.pop(), flow)
            layers = {name: LayerScores(*relevance[name], *activation[name]) for name in self.layer_names}
            return BatchScores(self._reported(logits), targets, layers)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Compute (n, n_classes) logits by a plain forward pass."""
        with self._computing():
            values = self._prepared(images)
            for rule in self._rules:
                values = rule.forward(values)
            return self._reported(values)

    def attribute(self, image: torch.Tensor, target: int) -> tuple[torch.Tensor, Mapping[str, LayerAttribution]]:
        """Attribute one class of one (1, 3, height, width) image.

        Returns
        -------
        heatmap : (height, width) float
        layers : mapping of layer name to LayerAttribution
        """
        with self._computing():
            kept, outputs = self._kept(image, len(self._rules), set(self._positions.values()))
            logits = outputs[len(self._rules) - 1]
            flow = torch.zeros_like(logits)
            flow[:, target] = logits[:, target]
            relevance = {}
            for position in range(len(self._rules) - 1, -1, -1):
                if position in self._positions.values():
                    relevance[position] = _channel_sums(flow)[0]
                flow = self._rules[position].backward(kept[position], flow)
            layers = {
                name: LayerAttribution(relevance[position], _channel_sums(outputs[position])[0])
                for name, position in self._positions.items()
            }
            return self._heatmaps(flow)[0], layers

    def attribute_concepts(
        self, image: torch.Tensor, target: int, concepts: Sequence[tuple[str, int]], inputs: Mapping[str, Sequence[str]]
    ) -> list[ConditionalAttribution]:
        """Attribute one class of one image through each of the (layer, channel) concepts, in their order.

        `inputs` names the lower layers to record for each concept's layer. All concepts share the forward pass, the
        backward pass above their layers and every modified forward pass below.
        """
        rows = []
        for layer, channel in concepts:
            recorded = tuple(self._position(name) for name in inputs.get(layer, ()))
            rows.append(Row(self._position(layer), channel, None, target, recorded))
        with self._computing():
            heatmaps, records = self._propagate(image, rows)
        return [
            ConditionalAttribution(heatmap, {name: record[self._position(name)] for name in inputs.get(layer, ())})
            for (layer, _), heatmap, record in zip(concepts, heatmaps, records, strict=True)
        ]

    def reference_heatmaps(self, images: torch.Tensor, requests: Sequence[ReferenceRequest]) -> torch.Tensor:
        """Compute (n_requests, height, width) heatmaps, in the order of the requests.

        Single neurons go by windows where the steps allow it, all others by rows over the whole frame; the requests of
        one image share its forward pass where that is less work.
        """
        result = torch.zeros((len(requests), *self._input_shape[1:]), dtype=self._reported_dtype, device=self._device)
        rows = [Row(self._position(r.layer), r.channel, r.neuron, r.target) for r in requests]
        by_window = [place for place, row in enumerate(rows) if self._goes_by_window(row)]
        with self._computing():
            if by_window:
                asked = [_neuron_request(requests[place].image, rows[place]) for place in by_window]
                result[by_window] = self._reported(self._cropped.compute(self._prepared(images), asked))
            others = sorted(set(range(len(requests))) - set(by_window))
            for image in sorted({requests[place].image for place in others}):
                chosen = [place for place in others if requests[place].image == image]
                result[chosen] = self._propagate(images[image : image + 1], [rows[place] for place in chosen])[0]
        return result

    def _goes_by_window(self, row: Row) -> bool:
        return row.target is None and row.neuron is not None and self._cropped.geometry.covers(row.position)

    def _propagate(
        self, image: torch.Tensor, rows: Sequence[Row]
    ) -> tuple[torch.Tensor, list[dict[int, torch.Tensor]]]:
        """Compute the (m, height, width) heatmaps of all rows of one image, and their relevance at `recorded`."""
        targeted = any(row.target is not None for row in rows)
        top = len(self._rules) if targeted else max(row.position for row in rows) + 1
        kept, outputs = self._kept(image, top, {row.position for row in rows})
        heatmaps = torch.empty((len(rows), *image.shape[2:]), dtype=self._reported_dtype, device=self._device)
        records: list[dict[int, torch.Tensor]] = [{} for _ in rows]
        # highest first, so that rows join at the end of the batch as the relevance comes down
        order = sorted(range(len(rows)), key=lambda place: -rows[place].position)
        for start in range(0, len(order), ROWS_AT_ONCE):
            chosen = order[start : start + ROWS_AT_ONCE]
            flow, found = self._flow_down([rows[place] for place in chosen], kept, outputs)
            heatmaps[chosen] = self._heatmaps(flow)
            for place, record in zip(chosen, found, strict=True):
                records[place] = record
        return heatmaps, records

    def _flow_down(
        self, rows: Sequence[Row], kept: Sequence[Kept], outputs: Mapping[int, torch.Tensor]
    ) -> tuple[torch.Tensor, list[dict[int, torch.Tensor]]]:
        """Run rows, highest layer first, down to the input; the unmasked relevance of each target leads the batch."""
        targets = sorted({row.target for row in rows if row.target is not None})
        last_masking = min((row.position for row in rows if row.target is not None), default=len(kept))
        highest = len(kept) - 1 if targets else rows[0].position
        flow = self._starts(outputs[highest], targets)
        records: list[dict[int, torch.Tensor]] = [{} for _ in rows]
        n_trunks, n_joined = len(targets), 0
        for position in range(highest, -1, -1):
            for place in range(n_joined):
                if position in rows[place].recorded:
                    records[place][position] = _channel_sums(flow[n_trunks + place, None])[0]
            joining = [row for row in rows[n_joined:] if row.position == position]
            if joining:
                masked = [_masked(row, flow, outputs[position], targets) for row in joining]
                flow = torch.cat([flow, *masked])
                n_joined += len(joining)
            if position == last_masking:
                flow, n_trunks = flow[n_trunks:], 0
            flow = self._rules[position].backward(kept[position], flow)
        return flow, records

    def _starts(self, output: torch.Tensor, targets: Sequence[int]) -> torch.Tensor:
        """Start one row for each target at the logits; no row where there are no targets."""
        flow = output.new_zeros((len(targets), *output.shape[1:]))
        for place, target in enumerate(targets):
            flow[place, target] = output[0, target]
        return flow

    def _kept(self, image: torch.Tensor, top: int, wanted: set[int]) -> tuple[list[Kept], dict[int, torch.Tensor]]:
        """Run the lowest `top` steps on one image; keep what the backward needs, and the outputs wanted."""
        kept: list[Kept] = []
        outputs: dict[int, torch.Tensor] = {}
        values = self._prepared(image)
        for position, rule in enumerate(self._rules[:top]):
            output, needed = rule.forward_keeping(values)
            kept.append(needed)
            if position in wanted:
                outputs[position] = output.clone()
            values = output
        outputs[top - 1] = outputs.get(top - 1, values)
        return kept, outputs

    def _scores(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return reduce_channels(values, self._config.max_target, self._config.normalised)

    def _position(self, layer: str) -> int:
        if layer not in self._positions:
            raise ModelError(f"layer {layer} was not selected; the engine knows {', '.join(self.layer_names)}")
        return self._positions[layer]

    def _prepared(self, images: torch.Tensor) -> torch.Tensor:
        if tuple(images.shape[1:]) != self._input_shape:
            raise ModelError(
                f"images are {tuple(images.shape[1:])}, the engine was made for {self._input_shape}; "
                "use the same preprocessing for both"
            )
        values = images.to(device=self._device, dtype=self._dtype, non_blocking=True)
        return values.contiguous(memory_format=torch.channels_last)

    @property
    def _reported_dtype(self) -> torch.dtype:
        return torch.float32 if self._dtype == torch.bfloat16 else self._dtype

    def _reported(self, values: torch.Tensor) -> torch.Tensor:
        return values.to(self._reported_dtype)

    def _heatmaps(self, flow: torch.Tensor) -> torch.Tensor:
        return flow.sum(1, dtype=self._reported_dtype)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Without autograd, and with TF32 exactly where it was asked for."""
        tf32 = self._config.precision == "tf32"
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = tf32
        try:
            with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=tf32):
                yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before


def _neuron_request(image: int, row: Row) -> NeuronRequest:
    assert row.neuron is not None, "only single neurons go by window"
    return NeuronRequest(image, row.position, row.channel, row.neuron)


def _masked(row: Row, flow: torch.Tensor, output: torch.Tensor, targets: Sequence[int]) -> torch.Tensor:
    """Start a row at its layer: the trunk's relevance, or the layer's own activation, at one channel or neuron."""
    source = output if row.target is None else flow[targets.index(row.target), None]
    masked = torch.zeros_like(source)
    if row.neuron is None or source.dim() == 2:
        masked[:, row.channel] = source[:, row.channel]
    else:
        place = divmod(row.neuron, source.shape[3])
        masked[0, row.channel, place[0], place[1]] = source[0, row.channel, place[0], place[1]]
    return masked


def _channel_sums(values: torch.Tensor) -> torch.Tensor:
    """Sum (n, n_channels, ...) over space in float64."""
    return values.to(torch.float64).flatten(2).sum(2) if values.dim() == 4 else values.to(torch.float64, copy=True)
