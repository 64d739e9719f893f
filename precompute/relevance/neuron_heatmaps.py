"""Heatmaps of single neurons, computed only on the windows that the neurons see.

Owns the choice of how far one image's requests share a forward pass over the whole frame, and the passes over batches
of windows, several at once on a CPU. Exact: a window ends where the frame ends, and is padded there as the frame is.
Must not know layer names, targets or files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F

from precompute.network.graph import Node
from precompute.network.receptive_field import Reach

from .operations import Convolution, Kept, Rule
from .windows import Geometry, Pair, Span, Windows

WINDOW_ELEMENTS = {"cpu": 2**24, "cuda": 2**28}
"""Elements of the largest tensor of one batch of windows; bounds the memory, not the result."""

FRAME_ELEMENTS = {"cpu": 2**26, "cuda": 2**30}
"""Elements of all frames kept of one batch of images; bounds the memory, not the result."""


@dataclass(frozen=True)
class NeuronRequest:
    """One heatmap: start at one neuron of a value with its activation."""

    image: int
    value: str
    channel: int
    neuron: int


@dataclass
class _Frames:
    """Whole-frame forward of some images: the operations before place `depth`.

    Attributes
    ----------
    depth : int
    row : dict of int to int
        The row of each image.
    values : dict of str to tensor
        What later operations and backward passes read.
    totals : dict of str to tensor
        Modified forward passes, by node.
    """

    depth: int
    row: dict[int, int]
    values: dict[str, torch.Tensor]
    totals: dict[str, torch.Tensor] = field(default_factory=dict)


class NeuronHeatmaps:
    """Neuron heatmaps of a graph.

    Parameters
    ----------
    steps : sequence of (Node, Rule)
    reaches : mapping of str to Reach or None
    source : str
        The value that is the image.
    shapes : mapping of str to tuple of int
    """

    def __init__(
        self,
        steps: Sequence[tuple[Node, Rule]],
        reaches: Mapping[str, Reach | None],
        source: str,
        shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        self.steps, self.source, self.shapes = tuple(steps), source, shapes
        self.geometry = Geometry(steps, reaches, source, shapes)
        self.windowed = [rule.windowed() for _, rule in steps]

    def compute(self, images: torch.Tensor, requests: Sequence[NeuronRequest]) -> torch.Tensor:
        """Compute (n_requests, height, width) heatmaps.

        Parameters
        ----------
        images : (n, channels, height, width) float, channels last, in the precision of the rules
        requests : sequence of NeuronRequest
            At values that `Geometry.covers`.
        """
        result = images.new_zeros((len(requests), *images.shape[2:]))
        for depth, members in self._by_depth(requests):
            for chunk in self._image_chunks(members, depth, FRAME_ELEMENTS[images.device.type]):
                places = [place for place, request in enumerate(requests) if request.image in chunk]
                frames = self._run_frames(images, chunk, depth, [requests[place] for place in places])
                tasks: list[Callable[[], None]] = []
                for value in sorted({requests[place].value for place in places}):
                    chosen = {place: requests[place] for place in places if requests[place].value == value}
                    tasks += self._plan_value(frames, value, chosen, result)
                _run_side_by_side(tasks, _n_workers(result.device))
        return result

    # --- how far on whole frames --------------------------------------------------------------------------------

    def _by_depth(self, requests: Sequence[NeuronRequest]) -> list[tuple[int, list[int]]]:
        """Group the images by how many operations of their forward pass run on the whole frame."""
        groups: dict[int, list[int]] = {}
        for image in sorted({request.image for request in requests}):
            own = [request for request in requests if request.image == image]
            groups.setdefault(self._choose_depth(own), []).append(image)
        return sorted(groups.items())

    def _choose_depth(self, requests: Sequence[NeuronRequest]) -> int:
        forced = max((self._forced_depth(value) for value in {request.value for request in requests}), default=0)
        return max(forced, self._best_depth([self.geometry.window_costs(r.value, r.neuron) for r in requests]))

    def _forced_depth(self, value: str) -> int:
        """Return behind which place all operations below a value work on windows: gates need the whole frame."""
        on_way = set(self.geometry.chain(value))
        needed, forced = {value}, 0
        for place in range(self.geometry.places[value], -1, -1):
            node, _ = self.steps[place]
            if node.name in needed:
                needed.update(node.inputs)
                if place not in on_way:
                    forced = max(forced, place + 1)
        return forced

    def _best_depth(self, windows: Sequence[Mapping[int, int]]) -> int:
        """Choose the number of whole-frame operations that costs the fewest multiply-adds in all.

        `windows` holds, for each request of one image, the cost of every operation below it by place.
        """
        places = sorted(set().union(*windows))
        inside = {place: sum(costs.get(place, 0) for costs in windows) for place in places}
        frame = {place: self.geometry.frame_cost(place) for place in places}
        # above: forward, z and spread on windows; below: z once on the frame or on each window, and spread
        on_windows = {place: 3 * inside[place] for place in places}
        on_frames = {place: frame[place] + min(inside[place], frame[place]) + inside[place] for place in places}
        cost = best = sum(on_windows.values())
        depth = 0
        for place in places:
            cost += on_frames[place] - on_windows[place]
            if cost < best:
                depth, best = place + 1, cost
        return depth

    def _image_chunks(self, images: Sequence[int], depth: int, n_elements: int) -> Iterator[list[int]]:
        each = sum(_n_elements(node.shape) for node, rule in self.steps[:depth] if not rule.n_products)
        size = max(1, n_elements // max(each, 1)) if depth else len(images)
        for start in range(0, len(images), size):
            yield list(images[start : start + size])

    def _run_frames(
        self, images: torch.Tensor, chunk: Sequence[int], depth: int, requests: Sequence[NeuronRequest]
    ) -> _Frames:
        """Run the operations before `depth` on whole frames."""
        needed = {request.value for request in requests}
        for node, _ in reversed(self.steps):
            if node.name in needed:
                needed.update(node.inputs)
        values = {self.source: images[list(chunk)].contiguous(memory_format=torch.channels_last)}
        for node, rule in self.steps[:depth]:
            if node.name in needed:
                rule.in_place = False
                values[node.name] = rule.forward(values, len(chunk))
        return _Frames(depth, {image: row for row, image in enumerate(chunk)}, values)

    # --- windows of one value -----------------------------------------------------------------------------------

    def _plan_value(
        self, frames: _Frames, value: str, requests: dict[int, NeuronRequest], result: torch.Tensor
    ) -> Iterator[Callable[[], None]]:
        """Yield what computes the heatmaps of all requests of one value, in batches of windows of one shape."""
        windows = {place: self.geometry.windows(value, request.neuron) for place, request in requests.items()}
        self._share_totals(frames, value, list(requests.values()))
        groups: dict[tuple[object, ...], list[int]] = {}
        for place, found in windows.items():
            groups.setdefault(found.key, []).append(place)
        for places in groups.values():
            spans = windows[places[0]].spans
            largest = max(span.size[0] * span.size[1] * self.shapes[name][0] for name, span in spans.items())
            n_workers = _n_workers(result.device)
            n_at_once = max(1, WINDOW_ELEMENTS[result.device.type] // (largest * n_workers))
            n_at_once = min(n_at_once, -(-len(places) // n_workers))
            for start in range(0, len(places), n_at_once):
                batch = places[start : start + n_at_once]
                run = _Batch(self, frames, value, [requests[place] for place in batch], [windows[p] for p in batch])
                yield partial(run.write, result, batch)

    def _share_totals(self, frames: _Frames, value: str, requests: Sequence[NeuronRequest]) -> None:
        """Run the modified forward pass on whole frames where that is less work than on every window."""
        costs = [self.geometry.window_costs(value, request.neuron) for request in requests]
        for place in self.geometry.chain(value):
            node, rule = self.steps[place]
            if place >= frames.depth or not isinstance(rule, Convolution) or rule.flat or node.name in frames.totals:
                continue
            inside = sum(cost[place] for cost in costs)
            if len(frames.row) * self.geometry.frame_cost(place) < inside:
                frames.totals[node.name] = rule.total(frames.values[rule.first])


def _n_workers(device: torch.device) -> int:
    return torch.get_num_threads() if device.type == "cpu" else 1


def _run_side_by_side(tasks: Sequence[Callable[[], None]], n_workers: int) -> None:
    """Run tasks in threads, each of which computes alone.

    A window's maps are small: several threads within each operation would wait for one another thousands of times a
    second, and beside another program each would wait for the one that has no processor. So each takes batches of its
    own.
    """
    if n_workers == 1 or len(tasks) == 1:
        for task in tasks:
            task()
        return
    with ThreadPoolExecutor(n_workers, initializer=torch.set_num_threads, initargs=(1,)) as threads:
        for done in [threads.submit(torch.inference_mode()(task)) for task in tasks]:
            done.result()
    torch.set_num_threads(n_workers)  # the number that a thread sets counts for threads yet to come


def _n_elements(shape: Sequence[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


class _Batch:
    """One batch of windows of one shape: forward from where the frames end, backward, paste."""

    def __init__(
        self,
        owner: NeuronHeatmaps,
        frames: _Frames,
        value: str,
        requests: Sequence[NeuronRequest],
        windows: Sequence[Windows],
    ) -> None:
        self._owner, self._frames, self._value, self._requests = owner, frames, value, requests
        self._rows = [frames.row[request.image] for request in requests]
        self._windows, self._first = windows, windows[0]
        self._values: dict[str, torch.Tensor] = {}
        """Windows of the values that were computed on windows."""

    def write(self, result: torch.Tensor, places: Sequence[int]) -> None:
        """Write the heatmaps into their places of a result."""
        result[places] = self.heatmaps()

    def heatmaps(self) -> torch.Tensor:
        """Compute the (m, height, width) heatmaps."""
        owner, geometry = self._owner, self._owner.geometry
        places = geometry.chain(self._value)
        m = len(self._requests)
        for place in places:
            if place >= self._frames.depth:
                node, _ = owner.steps[place]
                self._values[node.name] = owner.windowed[place].forward(self._inputs(place), m)
        flow = {self._value: self._start()}
        for place in reversed(places):
            node, rule = owner.steps[place]
            relevance = flow.pop(node.name)
            parts = owner.windowed[place].backward(self._kept(place), relevance)
            need = self._first.needs[node.name]
            left, _, top, _ = need.padding
            height, width = need.span.size
            for name, part in zip(rule.signals, parts, strict=True):
                self._paste(flow, name, need.span, part[:, :, top : top + height, left : left + width])
        return self._pasted(flow[owner.source].sum(1))

    def _start(self) -> torch.Tensor:
        """Start at each neuron with its activation."""
        m, n_channels = len(self._requests), self._owner.shapes[self._value][0]
        output = self._values.get(self._value)
        if output is None:
            origins = [window.spans[self._value].origin for window in self._windows]
            output = _cut(self._frames.values[self._value], self._rows, origins, (1, 1))
        flow = output.new_zeros((m, n_channels, 1, 1))
        rows = torch.arange(m, device=output.device)
        channels = torch.tensor([request.channel for request in self._requests], device=output.device)
        flow[rows, channels] = output[rows, channels]
        return flow

    def _paste(self, flow: dict[str, torch.Tensor], name: str, span: Span, part: torch.Tensor) -> None:
        """Add relevance of a window to that of the whole window of a value."""
        whole = self._first.spans[name]
        if name not in flow:
            if whole.size == span.size:
                # rows start elsewhere, but every window of the batch lies alike in what holds it
                flow[name] = part.contiguous(memory_format=torch.channels_last)
                return
            shape = (len(part), part.shape[1], *whole.size)
            flow[name] = torch.zeros(shape, dtype=part.dtype, device=part.device).contiguous(
                memory_format=torch.channels_last
            )
        top, left = span.offset_in(whole)
        flow[name][:, :, top : top + span.size[0], left : left + span.size[1]] += part

    def _inputs(self, place: int) -> dict[str, torch.Tensor]:
        """Cut and pad what an operation reads."""
        node, rule = self._owner.steps[place]
        need = self._first.needs[node.name]
        found = {}
        for name in dict.fromkeys(node.inputs):
            own = name in rule.signals
            window = self._window(name, node.name) if own else self._beside(name, node.name, rule)
            if any(need.padding):
                window = F.pad(window, need.padding, value=rule.filling)
            found[name] = window.contiguous(memory_format=torch.channels_last) if window.dim() == 4 else window
        return found

    def _window(self, name: str, reader: str) -> torch.Tensor:
        """Cut what one operation reads out of a value."""
        span = self._first.needs[reader].span
        if name in self._values:
            top, left = span.offset_in(self._first.spans[name])
            return self._values[name][:, :, top : top + span.size[0], left : left + span.size[1]]
        origins = [window.needs[reader].span.origin for window in self._windows]
        return _cut(self._frames.values[name], self._rows, origins, span.size)

    def _beside(self, name: str, reader: str, rule: Rule) -> torch.Tensor:
        """Cut a gate or a divisor, which the frames hold; one that weighs whole channels is taken whole."""
        whole = self._frames.values[name]
        frame = self._owner.geometry.frame(rule.signals[0])
        if whole.dim() == 4 and tuple(whole.shape[2:]) == frame and len(whole) == len(self._frames.row):
            return self._window(name, reader)
        return whole[self._rows] if len(whole) == len(self._frames.row) else whole

    def _kept(self, place: int) -> Kept:
        node, rule = self._owner.steps[place]
        windowed = self._owner.windowed[place]
        if isinstance(rule, Convolution) and rule.flat:
            origins = [window.spans[node.name].origin for window in self._windows]
            counts = rule.n_inputs(self._owner.geometry.frame(rule.first), self._frames.values[self._owner.source])
            size = self._first.spans[node.name].size
            return self._first.needs[node.name].padded_size, _cut(counts, [0] * len(origins), origins, size)
        kept = windowed.keep_window(self._inputs(place), len(self._requests)) if windowed.keeps_something else ()
        if node.name in self._frames.totals:
            origins = [window.spans[node.name].origin for window in self._windows]
            total = _cut(self._frames.totals[node.name], self._rows, origins, self._first.spans[node.name].size)
            return kept[0], total
        return kept

    def _pasted(self, heatmaps: torch.Tensor) -> torch.Tensor:
        """Paste windows of the image into whole frames."""
        source = self._owner.source
        height, width = self._first.spans[source].size
        pasted = heatmaps.new_zeros((len(heatmaps), *self._owner.geometry.frame(source)))
        origins = [window.spans[source].origin for window in self._windows]
        if heatmaps.device.type == "cuda":
            pasted[_positions(range(len(heatmaps)), origins, (height, width), heatmaps.device)] = heatmaps
            return pasted
        for row, (top, left) in enumerate(origins):
            pasted[row, top : top + height, left : left + width] = heatmaps[row]
        return pasted


def _cut(frames: torch.Tensor, rows: Sequence[int], origins: Sequence[Pair], size: Pair) -> torch.Tensor:
    """Cut (m, n_channels, *size) windows out of (n, n_channels, height, width) frames, channels last."""
    if frames.device.type == "cuda":  # one kernel for all windows, since starting one takes longer than copying
        return frames.movedim(1, 3)[_positions(rows, origins, size, frames.device)].movedim(3, 1)
    shape = (len(rows), frames.shape[1], *size)
    windows = torch.empty(shape, dtype=frames.dtype, device=frames.device, memory_format=torch.channels_last)
    for place, (row, (top, left)) in enumerate(zip(rows, origins, strict=True)):
        windows[place] = frames[row, :, top : top + size[0], left : left + size[1]]
    return windows


def _positions(
    rows: Sequence[int], origins: Sequence[Pair], size: Pair, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Index windows in (n, height, width, ...) frames: what row, line and column each of their (m, *size) pixels is."""
    found = torch.tensor([(row, *origin) for row, origin in zip(rows, origins, strict=True)], device=device)
    row, top, left = found.T[:, :, None, None]
    return row, top + torch.arange(size[0], device=device)[:, None], left + torch.arange(size[1], device=device)
