"""Heatmaps of single neurons, computed only on the windows that the neurons see.

Owns the choice of how far one image's requests share a forward pass over the whole frame, and the passes over batches
of windows. Exact: a window ends where the frame ends, and is padded there as the frame is. Must not know layer names,
targets or files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from precompute.network.steps import Pair

from .rules import ConvolutionRule, FlatRule, Kept, MaxPoolingRule, Rule, ZPlusRule
from .windows import Geometry, Shape, Window

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
        self.input_shape = input_shape
        self.rules = rules
        self.geometry = Geometry(rules, input_shape[1:])
        self.windowed = [
            rule.windowed() if isinstance(rule, ConvolutionRule | MaxPoolingRule) else rule for rule in rules
        ]

    def compute(self, images: torch.Tensor, requests: Sequence[NeuronRequest]) -> torch.Tensor:
        """Compute (n_requests, height, width) heatmaps.

        Parameters
        ----------
        images : (n, channels, height, width) float, channels last, in the precision of the rules
        requests : sequence of NeuronRequest
            At layers that `Geometry.covers`.
        """
        result = images.new_zeros((len(requests), *images.shape[2:]))
        for depth, members in self._by_depth(requests):
            for chunk in self._image_chunks(members, depth):
                places = [place for place, request in enumerate(requests) if request.image in chunk]
                frames = self._run_frames(images, chunk, depth, places, requests)
                for layer in sorted({requests[place].position for place in places}):
                    chosen = [place for place in places if requests[place].position == layer]
                    self._run_layer(frames, layer, {place: requests[place] for place in chosen}, result)
        return result

    def _by_depth(self, requests: Sequence[NeuronRequest]) -> list[tuple[int, list[int]]]:
        """Group the images by how many steps of their forward pass run on the whole frame."""
        groups: dict[int, list[int]] = {}
        for image in sorted({request.image for request in requests}):
            costs = [self.geometry.window_costs(r.position, r.neuron) for r in requests if r.image == image]
            groups.setdefault(self._best_depth(costs), []).append(image)
        return sorted(groups.items())

    def _best_depth(self, windows: Sequence[Sequence[int]]) -> int:
        """Choose the number of whole-frame steps that costs the fewest multiply-adds in all.

        `windows` holds, for each request of one image, the cost of every step up to its layer.
        """
        frame, n_steps = self.geometry.frame_costs, max(map(len, windows))

        def cost(depth: int) -> int:
            total = sum(frame[:depth])
            for position in range(n_steps):
                inside = sum(costs[position] for costs in windows if position < len(costs))
                # above: forward, z and spread on windows; below: z once on the frame or on each window, and spread
                total += 3 * inside if position >= depth else min(inside, frame[position]) + inside
            return total

        return min(range(n_steps + 1), key=cost)

    def _image_chunks(self, images: Sequence[int], depth: int) -> Iterator[list[int]]:
        reaches = self.geometry.reaches[:depth]
        n_channels = [rule.weight.shape[1] * rule.groups for rule in self.rules if isinstance(rule, ConvolutionRule)]
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
            values = self.rules[position].forward(values)
            for place in places:
                request = requests[place]
                if request.position == position:
                    row, column = divmod(request.neuron, values.shape[3])
                    frames.starts[place] = values[frames.row[request.image], request.channel, row, column].clone()
            frames.inputs.append(values)
        return frames

    def _run_layer(self, frames: _Frames, layer: int, requests: dict[int, NeuronRequest], result: torch.Tensor) -> None:
        """Compute the heatmaps of all requests of one layer, in batches of windows of one shape."""
        windows = {place: self.geometry.windows(layer, request.neuron) for place, request in requests.items()}
        totals = self._shared_totals(frames, layer, list(requests.values()))
        groups: dict[tuple[Shape, ...], list[int]] = {}
        for place, found in windows.items():
            groups.setdefault(tuple(window.shape for window in found), []).append(place)
        for shapes, places in groups.items():
            largest = max(s.size[0] * s.size[1] * self._n_channels(position) for position, s in enumerate(shapes))
            n_at_once = max(1, WINDOW_ELEMENTS // largest)
            for start in range(0, len(places), n_at_once):
                batch = places[start : start + n_at_once]
                chosen = [windows[place] for place in batch]
                run = _Windows(self, frames, totals, layer, [requests[place] for place in batch], chosen)
                result[batch] = run.heatmaps([frames.starts[place] for place in batch if place in frames.starts])

    def _shared_totals(self, frames: _Frames, layer: int, requests: Sequence[NeuronRequest]) -> dict[int, torch.Tensor]:
        """Run the modified forward pass on whole frames where that is less work than on every window."""
        costs = [self.geometry.window_costs(layer, request.neuron) for request in requests]
        totals = {}
        for position in range(min(frames.depth, layer + 1)):
            rule = self.rules[position]
            inside = sum(cost[position] for cost in costs)
            if isinstance(rule, ZPlusRule) and len(frames.row) * self.geometry.frame_costs[position] < inside:
                totals[position] = rule.total(frames.inputs[position])
        return totals

    def _n_channels(self, position: int) -> int:
        """Return the channels at a step's input, which its own or the next convolution takes."""
        convolutions = (rule for rule in self.rules[position:] if isinstance(rule, ConvolutionRule))
        return next((int(rule.weight.shape[1]) * rule.groups for rule in convolutions), 1)


class _Windows:
    """One batch of windows of one shape: forward from where the frames end, backward, paste."""

    def __init__(
        self,
        owner: CroppedHeatmaps,
        frames: _Frames,
        totals: dict[int, torch.Tensor],
        layer: int,
        requests: Sequence[NeuronRequest],
        windows: Sequence[Sequence[Window]],
    ) -> None:
        self._owner, self._frames, self._totals, self._layer, self._requests = owner, frames, totals, layer, requests
        self._rows = [frames.row[request.image] for request in requests]
        self._shapes = [window.shape for window in windows[0]]
        self._origins = [[window.origin for window in step] for step in zip(*windows, strict=True)]
        self._origins.append([owner.geometry.place(layer, request.neuron) for request in requests])

    def heatmaps(self, starts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Compute the (m, height, width) heatmaps; `starts` holds the activations where the frames reached them."""
        inputs: dict[int, torch.Tensor] = {}
        if self._layer >= self._frames.depth:
            inputs, output = self._run_forward()
            starts = [output[row, request.channel, 0, 0] for row, request in enumerate(self._requests)]
        top = self._owner.rules[self._layer]
        assert isinstance(top, ConvolutionRule), "requests start at convolutions"
        flow = top.weight.new_zeros((len(self._requests), len(top.weight), 1, 1))
        for row, (request, start) in enumerate(zip(self._requests, starts, strict=True)):
            flow[row, request.channel] = start
        for position in range(self._layer, -1, -1):
            flow = self._backward(position, inputs.pop(position, None), flow)
        return self._pasted(flow.sum(1))

    def _run_forward(self) -> tuple[dict[int, torch.Tensor], torch.Tensor]:
        """Run from where the frames end up to the layer, on windows; returns each step's input and the last output."""
        depth = self._frames.depth
        values = _cut(self._frames.inputs[depth], self._rows, self._origins[depth], self._shapes[depth].size)
        inputs = {}
        for position in range(depth, self._layer + 1):
            inputs[position] = self._padded(position, values)
            values = self._owner.windowed[position].forward(inputs[position])
        return inputs, values

    def _padded(self, position: int, window: torch.Tensor) -> torch.Tensor:
        """Pad a step's input beyond the frame as the step itself pads: by zero, or by what never wins."""
        padding = self._shapes[position].padding
        if not any(padding):
            return window
        filling = float("-inf") if isinstance(self._owner.rules[position], MaxPoolingRule) else 0.0
        return F.pad(window, padding, value=filling).contiguous(memory_format=torch.channels_last)

    def _backward(self, position: int, window: torch.Tensor | None, flow: torch.Tensor) -> torch.Tensor:
        """Map relevance of a step's output to its input, without the padding."""
        rule, shape = self._owner.windowed[position], self._shapes[position]
        if isinstance(rule, FlatRule):
            flow = self._spread_flat(rule, flow)
        elif isinstance(rule, ZPlusRule | MaxPoolingRule):
            if window is None:
                cut = _cut(self._frames.inputs[position], self._rows, self._origins[position], shape.size)
                window = self._padded(position, cut)
            flow = rule.backward(self._kept(position, rule, window), flow)
        else:
            return rule.backward(Kept(), flow)
        left, _, top, _ = shape.padding
        return flow[:, :, top : top + shape.size[0], left : left + shape.size[1]]

    def _kept(self, position: int, rule: Rule, window: torch.Tensor) -> Kept:
        if position not in self._totals:
            return rule.forward_keeping(window)[1] if isinstance(rule, MaxPoolingRule) else Kept(values=window)
        total = _cut(self._totals[position], self._rows, self._origins[position + 1], self._output_size(position))
        return Kept(values=window, total=total)

    def _output_size(self, position: int) -> Pair:
        return self._shapes[position + 1].size if position < self._layer else (1, 1)

    def _spread_flat(self, rule: FlatRule, flow: torch.Tensor) -> torch.Tensor:
        """Spread the relevance of the lowest convolution's output over its input, summed over each group."""
        m, _, rows, columns = flow.shape
        by_group = flow.reshape(m, rule.groups, -1, rows, columns).sum(2)
        frame, whole = self._owner.input_shape, self._owner.rules[0]
        assert isinstance(whole, FlatRule), "windows follow the rules"
        n_inputs = whole.n_inputs(frame, by_group)
        shares = by_group / _cut(n_inputs, [0] * m, self._origins[1], self._output_size(0))
        return rule.spread_shares(shares, self._shapes[0].padded_size) * (frame[0] // rule.groups)

    def _pasted(self, heatmaps: torch.Tensor) -> torch.Tensor:
        """Paste windows of the image into whole frames."""
        height, width = self._shapes[0].size
        pasted = heatmaps.new_zeros((len(heatmaps), *self._owner.input_shape[1:]))
        for row, (top, left) in enumerate(self._origins[0]):
            pasted[row, top : top + height, left : left + width] = heatmaps[row]
        return pasted


def _cut(frames: torch.Tensor, rows: Sequence[int], origins: Sequence[Pair], size: Pair) -> torch.Tensor:
    """Cut (m, n_channels, *size) windows out of (n, n_channels, height, width) frames."""
    shape = (len(rows), frames.shape[1], *size)
    windows = torch.empty(shape, dtype=frames.dtype, device=frames.device, memory_format=torch.channels_last)
    for place, (row, (top, left)) in enumerate(zip(rows, origins, strict=True)):
        windows[place] = frames[row, :, top : top + size[0], left : left + size[1]]
    return windows
