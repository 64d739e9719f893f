"""Heatmaps of single neurons, computed only on the windows that the neurons see.

Owns the choice of how far one image's requests share a forward pass over the whole frame, and the passes over batches
of windows. Exact: a window carries its surroundings, zeros beyond the frame included. Must not know layer names,
targets or files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from .chain import Pair
from .lrp_rules import ConvolutionRule, FlatRule, Kept, MaxPoolingRule, Rule, ZPlusRule
from .window_geometry import Geometry

WINDOW_ELEMENTS = 2**24
"""Elements of the largest tensor of one batch of windows; bounds the memory, not the result."""

FRAME_ELEMENTS = 2**26
"""Elements of all frames kept of one batch of images; bounds the memory, not the result."""


@dataclass(frozen=True)
class NeuronRequest:
    """One heatmap: start at one neuron of the layer at `position` with its activation."""

    image: int
    position: int
    channel: int
    neuron: int


@dataclass
class _Frames:
    """Whole-frame forward of some images up to a step: the inputs of the steps, and each row of an image.

    `inputs[p]` is the input of step p for p <= `depth`; `starts` holds activations of requested neurons by place.
    """

    depth: int
    row: dict[int, int]
    inputs: list[torch.Tensor]
    starts: dict[int, torch.Tensor]


class CroppedHeatmaps:
    """Neuron heatmaps of a chain.

    Parameters
    ----------
    rules : sequence of Rule
    input_shape : (channels, height, width)
    """

    def __init__(self, rules: Sequence[Rule], input_shape: tuple[int, int, int]) -> None:
        self._input_shape = input_shape
        self._rules = rules
        self.geometry = Geometry(rules, input_shape[1:])
        self._windowed = [
            rule.windowed() if isinstance(rule, ConvolutionRule | MaxPoolingRule) else rule for rule in rules
        ]

    def compute(self, images: torch.Tensor, requests: Sequence[NeuronRequest]) -> torch.Tensor:
        """Compute (n_requests, height, width) heatmaps.

        Parameters
        ----------
        images : (n, channels, height, width) float, channels last, in the precision of the rules
        requests : sequence of NeuronRequest
            At layers for which `Geometry.worthwhile` holds.
        """
        result = images.new_zeros((len(requests), *images.shape[2:]))
        for depth, members in self._by_depth(requests):
            for chunk in self._image_chunks(members, depth):
                places = [place for place, request in enumerate(requests) if request.image in chunk]
                frames = self._run_frames(images, chunk, depth, places, requests)
                for layer in sorted({requests[place].position for place in places}):
                    chosen = [place for place in places if requests[place].position == layer]
                    self._run_layer(images, frames, layer, chosen, requests, result)
        return result

    def _by_depth(self, requests: Sequence[NeuronRequest]) -> list[tuple[int, list[int]]]:
        """Group the images by how many steps of their forward pass run on the whole frame."""
        groups: dict[int, list[int]] = {}
        for image in sorted({request.image for request in requests}):
            layers = [request.position for request in requests if request.image == image]
            groups.setdefault(self._best_depth(layers), []).append(image)
        return sorted(groups.items())

    def _best_depth(self, layers: Sequence[int]) -> int:
        """Choose the number of whole-frame steps that costs the fewest multiply-adds in all."""
        windows = [self.geometry.window_costs(layer) for layer in layers]
        frame = self.geometry.frame_costs

        def cost(depth: int) -> int:
            total = sum(frame[:depth])
            for position in range(max(layers) + 1):
                inside = sum(costs[position] for costs in windows if position < len(costs))
                # above: forward, z and spread on windows; below: z once on the frame or on each window, and spread
                total += 3 * inside if position >= depth else min(inside, frame[position]) + inside
            return total

        return min(range(max(layers) + 2), key=cost)

    def _image_chunks(self, images: Sequence[int], depth: int) -> Iterator[list[int]]:
        reaches = self.geometry.reaches[:depth]
        n_channels = [rule.weight.shape[1] * rule.groups for rule in self._rules if isinstance(rule, ConvolutionRule)]
        each = sum(reach.frame[0] * reach.frame[1] for reach in reaches if reach.weight) * max(n_channels[:2])
        size = max(1, FRAME_ELEMENTS // max(each, 1)) if depth else len(images)
        for start in range(0, len(images), size):
            yield list(images[start : start + size])

    def _run_frames(
        self,
        images: torch.Tensor,
        chunk: Sequence[int],
        depth: int,
        places: Sequence[int],
        requests: Sequence[NeuronRequest],
    ) -> _Frames:
        """Run the lowest `depth` steps on whole frames."""
        values = images[list(chunk)].contiguous(memory_format=torch.channels_last)
        frames = _Frames(depth, {image: row for row, image in enumerate(chunk)}, [values], {})
        for position in range(depth):
            values = self._rules[position].forward(values)
            for place in places:
                request = requests[place]
                if request.position == position:
                    row, column = divmod(request.neuron, values.shape[3])
                    frames.starts[place] = values[frames.row[request.image], request.channel, row, column].clone()
            frames.inputs.append(values)
        return frames

    def _run_layer(
        self,
        images: torch.Tensor,
        frames: _Frames,
        layer: int,
        places: Sequence[int],
        requests: Sequence[NeuronRequest],
        result: torch.Tensor,
    ) -> None:
        """Compute the heatmaps of all requests of one layer, in batches of windows."""
        totals = self._shared_totals(frames, layer, len(places))
        sizes = self.geometry.sizes(layer)
        largest = max(size[0] * size[1] * self._n_channels(p) for p, size in enumerate(sizes))
        n_at_once = max(1, WINDOW_ELEMENTS // largest)
        for start in range(0, len(places), n_at_once):
            batch = places[start : start + n_at_once]
            windows = _Windows(self, frames, totals, layer, [requests[place] for place in batch])
            starts = [frames.starts[place] for place in batch if place in frames.starts]
            result[list(batch)] = windows.heatmaps(images, starts)

    def _shared_totals(self, frames: _Frames, layer: int, n_requests: int) -> dict[int, torch.Tensor]:
        """Run the modified forward pass on whole frames where that is less work than on every window."""
        costs, n_images = self.geometry.window_costs(layer), len(frames.row)
        totals = {}
        for position in range(min(frames.depth, layer + 1)):
            rule = self._rules[position]
            cheaper = n_images * self.geometry.frame_costs[position] < n_requests * costs[position]
            if isinstance(rule, ZPlusRule) and cheaper:
                totals[position] = rule.total(frames.inputs[position])
        return totals

    def _n_channels(self, position: int) -> int:
        """Return an upper bound of the channels at a step's input."""
        for rule in self._rules[position:]:
            if isinstance(rule, ConvolutionRule):
                return int(rule.weight.shape[1]) * rule.groups
        return 1


class _Windows:
    """One batch of windows of one layer: forward where the frames end, backward, paste."""

    def __init__(
        self,
        owner: CroppedHeatmaps,
        frames: _Frames,
        totals: dict[int, torch.Tensor],
        layer: int,
        requests: Sequence[NeuronRequest],
    ) -> None:
        self._rules, self._windowed, self._geometry = owner._rules, owner._windowed, owner.geometry
        self._frames, self._totals, self._layer, self._requests = frames, totals, layer, requests
        self._input_shape = owner._input_shape
        self._rows = [frames.row[request.image] for request in requests]
        self._sizes = self._geometry.sizes(layer)
        by_request = [self._geometry.origins(layer, request.neuron) for request in requests]
        self._origins = [list(origins) for origins in zip(*by_request, strict=True)]

    def heatmaps(self, images: torch.Tensor, starts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Compute the (m, height, width) heatmaps; `starts` holds the activations where the frames reached them."""
        inputs: dict[int, torch.Tensor] = {}
        if self._layer >= self._frames.depth:
            inputs, output = self._run_forward()
            starts = [output[row, request.channel, 0, 0] for row, request in enumerate(self._requests)]
        n_channels = len(self._conv(self._layer).weight)
        flow = images.new_zeros((len(self._requests), n_channels, 1, 1))
        for row, (request, start) in enumerate(zip(self._requests, starts, strict=True)):
            flow[row, request.channel] = start
        for position in range(self._layer, -1, -1):
            rule = self._windowed[position]
            if isinstance(rule, FlatRule):
                return self._spread_flat(rule, flow)
            flow = self._backward(position, inputs.pop(position, None), flow)
        return self._pasted(flow.sum(1, keepdim=True), self._origins[0], self._input_shape[1:])[:, 0]

    def _conv(self, position: int) -> ConvolutionRule:
        rule = self._rules[position]
        assert isinstance(rule, ConvolutionRule), "requests start at convolutions"
        return rule

    def _run_forward(self) -> tuple[dict[int, torch.Tensor], torch.Tensor]:
        """Run from where the frames end up to the layer, on windows; returns each step's input and the last output."""
        position = self._frames.depth
        values = self._cut(self._frames.inputs[position], position, 0.0)
        inputs = {}
        for place in range(position, self._layer + 1):
            rule = self._windowed[place]
            inputs[place] = values
            values = rule.forward(values)
            if place < self._layer and self._geometry.reaches[place].span != (1, 1):
                self._clear_surroundings(values, place + 1)
        return inputs, values

    def _backward(self, position: int, window: torch.Tensor | None, flow: torch.Tensor) -> torch.Tensor:
        rule = self._windowed[position]
        if not isinstance(rule, ZPlusRule | MaxPoolingRule):
            return rule.backward(Kept(), flow)
        if window is None:
            window = self._cut(self._frames.inputs[position], position, 0.0)
        if isinstance(rule, MaxPoolingRule):
            return rule.backward(rule.forward_keeping(window)[1], flow)
        if position in self._totals:
            total = self._cut_output(self._totals[position], position, self._rows)
            return rule.backward(Kept(values=window, total=total), flow)
        return rule.backward(Kept(values=window), flow)

    def _cut(self, frames: torch.Tensor, position: int, surroundings: float) -> torch.Tensor:
        """Cut the windows at a step's input out of whole frames."""
        return _cut(frames, self._rows, self._origins[position], self._sizes[position], surroundings)

    def _cut_output(self, frames: torch.Tensor, position: int, rows: Sequence[int]) -> torch.Tensor:
        """Cut the windows at a step's output; no relevance lies beyond the frame, so any divisor but 0 will do."""
        if position < self._layer:
            return _cut(frames, rows, self._origins[position + 1], self._sizes[position + 1], 1.0)
        width = self._geometry.output_frame(self._layer)[1]
        return _cut(frames, rows, [divmod(r.neuron, width) for r in self._requests], (1, 1), 1.0)

    def _clear_surroundings(self, values: torch.Tensor, position: int) -> None:
        """Set what lies beyond the frame to zero again: there a window's forward pass computes what a frame pads."""
        height, width = self._geometry.reaches[position].frame
        rows, columns = self._sizes[position]
        for row, (top, left) in enumerate(self._origins[position]):
            values[row, :, : max(0, -top)] = 0
            values[row, :, max(0, min(rows, height - top)) :] = 0
            values[row, :, :, : max(0, -left)] = 0
            values[row, :, :, max(0, min(columns, width - left)) :] = 0

    def _spread_flat(self, rule: FlatRule, flow: torch.Tensor) -> torch.Tensor:
        """Spread the relevance of the lowest convolution's output over its windows of the image, then paste those."""
        m, _, rows, columns = flow.shape
        by_group = flow.reshape(m, rule.groups, -1, rows, columns).sum(2)
        whole = self._rules[0]
        assert isinstance(whole, FlatRule), "windows follow the rules"
        shares = by_group / self._cut_output(whole.n_inputs(self._input_shape, by_group), 0, [0] * m)
        spread = rule.spread_shares(shares, self._sizes[0]).sum(1, keepdim=True)
        spread *= self._input_shape[0] // rule.groups
        return self._pasted(spread, self._origins[0], self._input_shape[1:])[:, 0]

    def _pasted(self, flow: torch.Tensor, origins: Sequence[Pair], frame: Sequence[int]) -> torch.Tensor:
        pasted = flow.new_zeros((*flow.shape[:2], *frame))
        for row, (top, left) in enumerate(origins):
            rows, columns = _overlap(top, flow.shape[2], frame[0]), _overlap(left, flow.shape[3], frame[1])
            inner = flow[row, :, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
            pasted[row, :, rows, columns] = inner
        return pasted


def _overlap(start: int, size: int, frame: int) -> slice:
    """Return the part of [start, start + size) inside [0, frame)."""
    first = min(max(0, start), frame)
    return slice(first, max(first, min(frame, start + size)))


def _cut(
    frames: torch.Tensor, rows: Sequence[int], origins: Sequence[Pair], size: Pair, surroundings: float
) -> torch.Tensor:
    """Cut (m, n_channels, *size) windows out of (n, n_channels, height, width) frames."""
    shape = (len(rows), frames.shape[1], *size)
    windows = torch.empty(shape, dtype=frames.dtype, device=frames.device, memory_format=torch.channels_last)
    for place, (row, (top, left)) in enumerate(zip(rows, origins, strict=True)):
        inner_rows = _overlap(top, size[0], frames.shape[2])
        inner_columns = _overlap(left, size[1], frames.shape[3])
        inner = frames[row, :, inner_rows, inner_columns]
        if inner.shape[1:] == size:
            windows[place] = inner
            continue
        windows[place] = surroundings
        windows[
            place,
            :,
            inner_rows.start - top : inner_rows.stop - top,
            inner_columns.start - left : inner_columns.stop - left,
        ] = inner
    return windows
