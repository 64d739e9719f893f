"""The relevance engine: scores, explanations and heatmaps for any network whose every operation has a rule.

Owns the passes over a graph: what is kept of a forward pass and for how long, where backward passes begin, join and
end. Must not know formulas, data sets or files.

A backward pass runs only where a layer asked for lies below, and what it needs of the forward pass is all that is
kept. Rows of relevance that belong to one image share its forward pass; those that start at lower layers join those
that come from above.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import nn

from precompute.config import RelevanceConfig
from precompute.errors import ModelError
from precompute.network.folding import simplify
from precompute.network.graph import Graph, capture
from precompute.network.layers import Layer, describe_layers, find_channel_axes, find_layers, name_values
from precompute.records import ConservationProof, LayerInfo, OperationProof

from .assignment import Assignment, assign
from .channel_scores import (
    choose_targets,
    normalise,
    reduce_channels,
    share_of,
    start_relevance,
    summing_dtype,
)
from .cut import BesidePart, EdgeSums, Split, TakenSums, find_cut
from .intervention import Intervention, Resumption
from .neuron_heatmaps import NeuronHeatmaps, NeuronRequest
from .operations import Activation, Clamp, Kept, Rectifier, Rule
from .proof import LogitProof, check_conservation, measure_conservation, measure_parts
from .protocol import BatchScores, ConditionalAttribution, LayerAttribution, LayerScores, ReferenceRequest

DTYPES = {"float64": torch.float64, "float32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}

BATCH_ELEMENTS = 2**25
"""Elements of the largest map of all images that are scored at once on a CPU, which is no faster with more; bounds the
memory."""

ROW_ELEMENTS = 2**26
"""Elements of the largest map of all rows that go through one backward pass; bounds the memory, not the result."""

ROWS_FOR_ONE_PASS = 8
"""Requests of one image from which on a GPU takes them together through whole frames: windows of deep layers seldom
have the same shape, and starting a kernel for each takes longer than the frames."""

Rows = tuple[torch.Tensor, torch.Tensor]
"""Which rows there is relevance for, (m,) int64 ascending, and that relevance, (m, ...) float."""


@dataclass(frozen=True, eq=False)
class Run:
    """One forward pass.

    Attributes
    ----------
    outputs : dict of str to tensor
        The values that were asked for.
    kept : dict of str to Kept
        What each node's backward pass needs.
    n : int
        Images.
    """

    outputs: dict[str, torch.Tensor]
    kept: dict[str, Kept]
    n: int


@dataclass(frozen=True, eq=False)
class Row:
    """One conditional backward pass over one image.

    Attributes
    ----------
    layer : Layer
        That it is masked at.
    channel : int
    neuron : int or None
        Flat neuron; None keeps the channel's whole map.
    target : int or None
        Output class to start from; None starts at the layer itself with its activation.
    recorded : tuple of Layer
        Lower layers whose relevance is wanted.
    """

    layer: Layer
    channel: int
    neuron: int | None = None
    target: int | None = None
    recorded: tuple[Layer, ...] = ()


class Network:
    """A graph with its rules, ready to run forward and backward.

    Parameters
    ----------
    assignment : Assignment
    """

    def __init__(self, assignment: Assignment) -> None:
        self.graph = assignment.graph
        self.steps = tuple(zip(assignment.graph.nodes, assignment.rules, strict=True))
        self.flowing = assignment.flowing
        self._readers = {name: len(found) for name, found in self.graph.readers().items()}

    def above(self, values: Collection[str]) -> set[str]:
        """Find the values whose relevance has to be known for that of the given ones: these and all behind them."""
        found = set(values)
        for node, rule in self.steps:
            if any(name in found for name in rule.signals):
                found.add(node.name)
        return found

    def below(self, values: Collection[str]) -> set[str]:
        """Find the values that the given ones are computed from, themselves included."""
        found = set(values)
        for node, _ in reversed(self.steps):
            if node.name in found:
                found.update(node.inputs)
        return found

    def forward(
        self,
        images: torch.Tensor,
        *,
        keep: Collection[str] = (),
        wanted: Collection[str] = (),
        shared: bool = False,
        seen: Mapping[str, list[Layer]] | None = None,
        score: Scorer | None = None,
    ) -> Run:
        """Run forward, as far as what is wanted, what is kept or what is seen needs.

        Parameters
        ----------
        images : (n, channels, height, width) float
        keep : collection of str
            Values whose relevance will be wanted: keeps what the way down to them needs.
        wanted : collection of str
            Values to return.
        shared : bool
            Many backward passes will follow: compute what they have in common.
        seen, score : optional
            Layers by the value that they are, and what is called with each and its output as soon as it is there.
        """
        seen = seen or {}
        needed = self.below({*keep, *wanted, *seen})
        above = self.above(keep) if keep else set()
        n, outputs, kept = len(images), {}, {}
        values = {self.graph.input: images}
        last = self._last_readers(needed)
        if self.graph.input in wanted:
            outputs[self.graph.input] = images
        for place, (node, rule) in enumerate(self.steps):
            if node.name not in needed:
                continue
            rule.in_place = isinstance(rule, Rectifier) and self._may_overwrite(rule.first, wanted)
            if any(name in above for name in rule.signals):
                values[node.name], found = rule.forward_keeping(values, n)
                kept[node.name] = rule.share_total(found) if shared else found
            else:
                values[node.name] = rule.forward(values, n)
            for name in last.get(place, ()):
                del values[name]
            for layer in seen.get(node.name, ()):
                assert score is not None, "layers are seen by a scorer"
                score(layer, values[node.name])
            if node.name in wanted:
                outputs[node.name] = values[node.name]
        return Run(outputs, kept, n)

    def backward(  # noqa: C901 - one loop with what may be noted on the way
        self,
        run: Run,
        starts: Mapping[str, Rows],
        wanted: Collection[str],
        record: Recorder | None = None,
        *,
        returned: Collection[str] | None = None,
        edges: EdgeSums | None = None,
        taken: TakenSums | None = None,
    ) -> dict[str, Rows]:
        """Propagate relevance down to the wanted values.

        Parameters
        ----------
        run : Run
            Kept for all that is wanted. Where it is of one image, any rows belong to it; else row i to image i.
            Freed as it is used where it is of several images.
        starts : mapping of str to Rows
            Relevance that begins at values.
        wanted : collection of str
            Values that relevance is propagated down to.
        returned : collection of str, optional
            Those of them whose relevance is returned; by default all. A copy of each is held until the end.
        record : callable, optional
            Called with each value and its whole relevance before it is sent on; it must not change it.
        edges, taken : optional
            Note the relevance on edges, and what each operation takes of it.
        """
        above = self.above(wanted)
        returned = wanted if returned is None else returned
        flow: dict[str, list[Rows]] = {name: [rows] for name, rows in starts.items()}
        found: dict[str, Rows] = {}
        for node, rule in reversed(self.steps):
            arrived = flow.pop(node.name, None)
            if not arrived or node.name not in above:
                continue
            rows, relevance = _gathered(arrived)
            if record:
                record(node.name, rows, relevance)
            if node.name in returned:
                found[node.name] = (rows, relevance.clone())
            if not any(name in above for name in rule.signals):
                continue
            kept = run.kept[node.name] if run.n == 1 else run.kept.pop(node.name)
            if taken:
                taken.note(node.name, rule, kept, relevance)
            parts = rule.backward(kept, relevance)
            if edges:
                edges.note(node.name, rule.signals, parts)
            for name, part in zip(rule.signals, parts, strict=True):
                if name in above:
                    flow.setdefault(name, []).append((rows, part))
            del relevance, arrived, kept, parts, part
        if self.graph.input in returned and self.graph.input in flow:
            found[self.graph.input] = _gathered(flow[self.graph.input])
        return found

    def _last_readers(self, needed: Collection[str]) -> dict[int, list[str]]:
        """List the values that nobody reads after each step."""
        last: dict[str, int] = {}
        for place, (node, _) in enumerate(self.steps):
            if node.name in needed:
                last[node.name] = place
                last.update(dict.fromkeys(node.inputs, place))
        found: dict[int, list[str]] = {}
        for name, place in last.items():
            if name != self.graph.output and not (place < len(self.steps) and self.steps[place][0].name == name):
                found.setdefault(place, []).append(name)
        return found

    @cached_property
    def _fresh(self) -> set[str]:
        return {node.name for node, rule in self.steps if rule.fresh and rule.signals}

    def _may_overwrite(self, name: str, wanted: Collection[str]) -> bool:
        return name in self._fresh and self._readers[name] == 1 and name not in wanted


class Scorer:
    """Called with a layer and its values, (n, ...); see `GraphEngine.score`."""

    def __init__(self, config: RelevanceConfig, *, normalised: bool) -> None:
        self._config, self._normalised = config, normalised
        self.found: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def __call__(self, layer: Layer, values: torch.Tensor) -> None:
        """Reduce the layer's maps to scores."""
        if layer.name not in self.found:
            maps = layer.maps(values)
            self.found[layer.name] = reduce_channels(maps, self._config.max_target, self._normalised)


class ActivationScorer(Scorer):
    """What ActMax ranks by: the largest value over space behind the channel's activation function, or zennit-crp's.

    Parameters
    ----------
    behind : mapping of str to Rule
        The activation function that reads each layer, where one does; the output itself counts for the others.
    """

    def __init__(self, config: RelevanceConfig, behind: Mapping[str, Rule], *, normalised: bool) -> None:
        super().__init__(config, normalised=normalised)
        self._behind = behind

    def __call__(self, layer: Layer, values: torch.Tensor) -> None:
        """Reduce the layer's output to activations."""
        if self._config.activation == "sum":
            super().__call__(layer, values)
        elif layer.name not in self.found:
            rule = self._behind.get(layer.name)
            if isinstance(rule, Rectifier):  # the largest of what is rectified is the largest, rectified
                scores, neurons = reduce_channels(layer.maps(values), "max", normalised=False)
                scores = scores.clamp(min=0)
            else:
                outputs = values if rule is None else rule.forward({rule.first: values}, len(values))
                scores, neurons = reduce_channels(layer.maps(outputs), "max", normalised=False)
            self.found[layer.name] = (normalise(scores) if self._normalised else scores, neurons)


class Recorder:
    """Called with each value, its rows and its relevance; see `Network.backward`."""

    def __call__(self, name: str, rows: torch.Tensor, relevance: torch.Tensor) -> None:
        """Note what is of interest."""
        raise NotImplementedError


class _LayerFlow(Recorder):
    """Adds up the relevance of each layer over the values that it is, and hands it on when it is whole."""

    def __init__(self, layers: Sequence[Layer], done: Scorer) -> None:
        self._by_value: dict[str, list[Layer]] = {}
        for layer in layers:
            for value in layer.values:
                self._by_value.setdefault(value, []).append(layer)
        self._left = {layer.name: len(layer.values) for layer in layers}
        self._sums: dict[str, torch.Tensor] = {}
        self._done = done

    def __call__(self, name: str, rows: torch.Tensor, relevance: torch.Tensor) -> None:
        for layer in self._by_value.get(name, ()):
            self._left[layer.name] -= 1
            if len(layer.values) == 1:
                self._done(layer, relevance)
                continue
            before = self._sums.pop(layer.name, None)
            total = relevance.clone() if before is None else before + relevance
            if self._left[layer.name]:
                self._sums[layer.name] = total
            else:
                self._done(layer, total)


class _Sums(Recorder):
    """Sums each row's relevance at layers over space, in float64."""

    def __init__(self, wanted: Mapping[str, Collection[int]], layers: Mapping[str, Layer]) -> None:
        self._rows, self._layers = wanted, layers
        self._by_value: dict[str, list[str]] = {}
        for name in wanted:
            for value in layers[name].values:
                self._by_value.setdefault(value, []).append(name)
        self.found: dict[tuple[str, int], torch.Tensor] = {}

    def __call__(self, name: str, rows: torch.Tensor, relevance: torch.Tensor) -> None:
        for layer in self._by_value.get(name, ()):
            places = [place for place, row in enumerate(rows.tolist()) if row in self._rows[layer]]
            if not places:
                continue
            sums = _channel_sums(self._layers[layer].maps(relevance[places]))
            for place, value in zip(places, sums, strict=True):
                key = (layer, int(rows[place]))
                self.found[key] = self.found[key] + value if key in self.found else value


class GraphEngine:
    """Score, explain and render heatmaps for a network, as zennit-crp defines them.

    Parameters
    ----------
    module : Module
        In eval mode. Never changed; its weights are shared where neither the precision nor a merged norm asks for a
        copy.
    layer_names : sequence of str
        Names of layers, see `network.layers`.
    config : RelevanceConfig
    input_shape : (channels, height, width)
    device : torch.device
    name : str
        Of the model, for messages.

    Raises
    ------
    UnsupportedModel
        An operation has no rule, or the model cannot be read as a graph.
    ModelError
        A layer is not one of the graph's.
    """

    name = "graph"

    def __init__(
        self,
        module: nn.Module,
        layer_names: Sequence[str],
        config: RelevanceConfig,
        input_shape: tuple[int, int, int],
        device: torch.device,
        *,
        name: str = "the model",
        graph: Graph | None = None,
    ) -> None:
        self._config, self._input_shape, self._device = config, input_shape, device
        self._dtype, self._name = DTYPES[config.precision], name
        self._graph = graph or simplify(capture(module, input_shape, name))
        with torch.no_grad():
            self.assignment = assign(
                self._graph,
                composite=config.composite,
                rules=config.rules,
                gates=config.gates,
                zero_params=config.zero_params,
                device=device,
                dtype=self._dtype,
                name=name,
            )
        self.network = Network(self.assignment)
        known = find_layers(self.assignment.graph)
        chosen = {layer: _find(layer, known, self.network.flowing, name) for layer in layer_names}
        self._layers = {layer: chosen[layer] for layer in known if layer in chosen}
        self.layer_names = tuple(self._layers)
        self.cuts = {
            layer: find_cut(self.network.steps, self.network.flowing, found) for layer, found in self._layers.items()
        }
        self._behind = self._find_activations()
        self._edges = frozenset(edge for cut in self.cuts.values() for edge in cut.edges)
        self._axes = find_channel_axes(self.assignment.graph)
        self._names = name_values(known)
        self._windows = NeuronHeatmaps(
            self.network.steps, self.assignment.reaches, self.assignment.graph.input, self.assignment.facts.shapes
        )
        self._resumptions: dict[str, Resumption] = {}
        self.proof = LogitProof(module, device, config.precision, name)

    def describe(self) -> tuple[LayerInfo, ...]:
        """Describe the layers, in forward order."""
        return describe(self.assignment, self._layers, self._names)

    def _find_activations(self) -> dict[str, Rule]:
        """Find the activation function that reads each layer's output, where there is one."""
        readers: dict[str, Rule] = {}
        for _, rule in self.network.steps:
            if isinstance(rule, (Rectifier, Activation, Clamp)):
                readers.setdefault(rule.first, rule)
        return {name: readers[found.values[0]] for name, found in self._layers.items() if found.values[0] in readers}

    def beside(self, layer: str) -> tuple[str, ...]:
        """Name what runs beside a layer; empty where it carries the whole."""
        return tuple(self._names.get(value, value) for value in self.cuts[layer].beside)

    def score(self, images: torch.Tensor, labels: torch.Tensor) -> BatchScores:
        """Score every channel of every layer on a batch; `labels` (n,) int64, negative where there is none.

        On a CPU in equal pieces, where the batch's maps would take much memory.
        """
        n_pieces = max(1, -(-len(images) // self._images_at_once))
        pieces = zip(images.chunk(n_pieces), labels.chunk(n_pieces), strict=True)
        return BatchScores.joined([self._score_at_once(part, own) for part, own in pieces])

    @property
    def _images_at_once(self) -> int:
        return max(1, BATCH_ELEMENTS // self._largest_map) if self._device.type == "cpu" else sys.maxsize

    def _score_at_once(self, images: torch.Tensor, labels: torch.Tensor) -> BatchScores:
        with self._computing():
            values = self._prepared(images)
            keep = {value for layer in self._layers.values() for value in layer.values}
            seen: dict[str, list[Layer]] = {}
            for layer in self._layers.values():
                seen.setdefault(layer.values[0], []).append(layer)
            scores = self._config.scores
            activation = ActivationScorer(self._config, self._behind, normalised=scores != "raw")
            relevance = Scorer(self._config, normalised=scores == "layer")
            edges = EdgeSums(self._edges if scores == "cut" else frozenset(), self._axes)
            output = self.network.graph.output
            run = self.network.forward(values, keep=keep, wanted={output}, seen=seen, score=activation)
            logits = run.outputs.pop(output)
            targets = choose_targets(logits, labels.to(self._device), self._config.target)
            start = start_relevance(logits, targets)
            del values
            rows = torch.arange(len(logits), device=self._device)
            flow = _LayerFlow(list(self._layers.values()), relevance)
            if keep:
                self.network.backward(run, {output: (rows, start)}, keep, flow, returned=(), edges=edges)
            if scores == "cut":
                for name, (sums, neurons) in relevance.found.items():
                    whole = sums.abs().sum(dim=1) + edges.absolute(self.cuts[name])
                    relevance.found[name] = (share_of(sums, whole[:, None]), neurons)
            layers = {name: LayerScores(*relevance.found[name], *activation.found[name]) for name in self.layer_names}
            return BatchScores(self._reported(logits), targets, layers)

    def prove(self, images: torch.Tensor, logits: torch.Tensor) -> float:
        """Compare logits that `score` gave with the model's own; raises UnsupportedModel where they are others.

        Returns
        -------
        float
            The largest difference, over the largest absolute logit.
        """
        with self._computing():
            return self.proof.check(self._prepared(images), logits.to(self._device))

    def conserve(self, image: torch.Tensor, target: int, sample_index: int) -> ConservationProof:
        """Follow all relevance of one class of one (1, channels, height, width) image, in float64 on its device.

        Raises
        ------
        UnsupportedModel
            An operation loses relevance, or the parts of the logit above a layer do not add up to it.
        """
        config, name = self._config, self._name
        measured = measure_conservation(
            self._graph,
            image,
            [target],
            composite=config.composite,
            rules=config.rules,
            gates=config.gates,
            name=name,
        )
        check_conservation(measured, name)
        logit, parts = measure_parts(
            self._graph,
            self._layers,
            image,
            target,
            config=config,
            name=name,
        )
        lost: dict[str, list[float]] = {}
        for one in measured:
            lost.setdefault(one.operation, []).append(one.residual)
        operations = {operation: OperationProof(len(found), max(found)) for operation, found in lost.items()}
        return ConservationProof((sample_index,), abs(logit), operations, parts)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Compute (n, n_classes) logits by a plain forward pass, and compare them with the model's own."""
        with self._computing():
            values = self._prepared(images)
            logits = self._forward_logits(values)
            self.proof.check(values, logits)
            return self._reported(logits)

    def intervene(self, images: torch.Tensor, layer: str) -> Intervention:
        """Run images as far as a layer, so that its channels can be switched off."""
        resumption, output = self._resumption(layer), self.network.graph.output
        with self._computing():
            outputs = self.network.forward(self._prepared(images), wanted={output, *resumption.kept}).outputs
            return Intervention(resumption, {name: outputs[name] for name in resumption.kept}, outputs[output])

    def _resumption(self, layer: str) -> Resumption:
        if layer not in self._resumptions:
            graph = self.network.graph
            self._resumptions[layer] = Resumption(self.network.steps, self._layer(layer), graph.input, graph.output)
        return self._resumptions[layer]

    def attribute(self, image: torch.Tensor, target: int) -> tuple[torch.Tensor, Mapping[str, LayerAttribution]]:
        """Attribute one class of one (1, channels, height, width) image.

        Returns
        -------
        heatmap : (height, width) float
        layers : mapping of layer name to LayerAttribution
        """
        with self._computing():
            output, source = self.network.graph.output, self.network.graph.input
            firsts = {layer.values[0] for layer in self._layers.values()}
            run = self.network.forward(self._prepared(image), keep={source}, wanted={output, *firsts}, shared=True)
            logits = run.outputs[output]
            start = torch.zeros_like(logits)
            start[:, target] = logits[:, target]
            sums = _Sums(dict.fromkeys(self._layers, (0,)), self._layers)
            row = torch.zeros(1, dtype=torch.int64, device=self._device)
            edges, taken = EdgeSums(self._edges, self._axes), TakenSums()
            found = self.network.backward(run, {output: (row, start)}, {source}, sums, edges=edges, taken=taken)
            activation = ActivationScorer(self._config, self._behind, normalised=False)
            for layer in self._layers.values():
                activation(layer, run.outputs[layer.values[0]])
            layers = {
                name: LayerAttribution(
                    sums.found[name, 0],
                    activation.found[name][0][0].double(),
                    self._split(name, float(logits[0, target]), sums.found[name, 0], edges, taken),
                )
                for name in self._layers
            }
            return self._heatmaps(found[source][1])[0], layers

    def attribute_concepts(
        self, image: torch.Tensor, target: int, concepts: Sequence[tuple[str, int]], inputs: Mapping[str, Sequence[str]]
    ) -> list[ConditionalAttribution]:
        """Attribute one class of one image through each of the (layer, channel) concepts, in their order.

        `inputs` names the lower layers to record for each concept's layer. All concepts share the forward pass, the
        backward pass above their layers and every modified forward pass below.
        """
        rows = []
        for layer, channel in concepts:
            recorded = tuple(self._layer(name) for name in inputs.get(layer, ()))
            rows.append(Row(self._layer(layer), channel, None, target, recorded))
        with self._computing():
            heatmaps, records = self._propagate(self._prepared(image), rows)
        return [
            ConditionalAttribution(heatmap, {name: record[name] for name in inputs.get(layer, ())})
            for (layer, _), heatmap, record in zip(concepts, heatmaps, records, strict=True)
        ]

    def reference_heatmaps(self, images: torch.Tensor, requests: Sequence[ReferenceRequest]) -> torch.Tensor:
        """Compute (n_requests, height, width) heatmaps, in the order of the requests.

        Single neurons go by windows where the operations allow it, all others by rows over the whole frame; the
        requests of one image share its forward pass. On a GPU the requests of an image that has many go by rows too.
        """
        result = torch.zeros((len(requests), *self._input_shape[1:]), dtype=self._reported_dtype, device=self._device)
        rows = [Row(self._layer(r.layer), r.channel, r.neuron, r.target) for r in requests]
        crowded = self._crowded(requests)
        by_window = [
            place
            for place, row in enumerate(rows)
            if requests[place].image not in crowded and self._goes_by_window(row)
        ]
        with self._computing():
            if by_window:
                asked = [_neuron_request(requests[place].image, rows[place]) for place in by_window]
                result[by_window] = self._reported(self._windows.compute(self._prepared(images), asked))
            others = sorted(set(range(len(requests))) - set(by_window))
            for image in sorted({requests[place].image for place in others}):
                chosen = [place for place in others if requests[place].image == image]
                values = self._prepared(images[image : image + 1])
                result[chosen] = self._propagate(values, [rows[place] for place in chosen])[0]
        return result

    def _crowded(self, requests: Sequence[ReferenceRequest]) -> set[int]:
        """Find the images whose requests all go by rows."""
        if self._device.type != "cuda":
            return set()
        return {image for image, n in Counter(r.image for r in requests).items() if n >= ROWS_FOR_ONE_PASS}

    def _goes_by_window(self, row: Row) -> bool:
        alone = row.target is None and row.neuron is not None and row.layer.axis == 1
        return alone and self._windows.geometry.covers(row.layer.values[0])

    def _split(self, layer: str, logit: float, relevance: torch.Tensor, edges: EdgeSums, taken: TakenSums) -> Split:
        """Split a logit over the cut at a layer of one image."""
        cut = self.cuts[layer]
        beside = {name: part[0].double() for name, part in edges.of(cut).items()}
        biases, stabilisers = taken.of(cut)
        return Split(
            logit,
            float(relevance.sum()),
            float(relevance.abs().sum()),
            tuple(
                BesidePart(self._names.get(name, name), float(part.sum()), float(part.abs().sum()))
                for name, part in beside.items()
            ),
            biases,
            stabilisers,
        )

    # --- rows of one image --------------------------------------------------------------------------------------

    def _propagate(
        self, image: torch.Tensor, rows: Sequence[Row]
    ) -> tuple[torch.Tensor, list[dict[str, torch.Tensor]]]:
        """Compute the (m, height, width) heatmaps of all rows of one image, and their relevance at `recorded`."""
        source, output = self.network.graph.input, self.network.graph.output
        targeted = sorted({row.target for row in rows if row.target is not None})
        at_layers = {value for row in rows for value in row.layer.values}
        wanted = {*at_layers, *([output] if targeted else [])}
        run = self.network.forward(image, keep={source}, wanted=wanted, shared=True)
        trunk = self._trunk(run, targeted, {v for row in rows if row.target is not None for v in row.layer.values})
        heatmaps = torch.zeros((len(rows), *image.shape[2:]), dtype=self._reported_dtype, device=self._device)
        records: list[dict[str, torch.Tensor]] = [{} for _ in rows]
        at_once = self._rows_at_once
        # rows of one layer together, so that few of them wait for others to come down
        order = sorted(range(len(rows)), key=lambda place: self._depth(rows[place].layer))
        for first in range(0, len(order), at_once):
            chosen = order[first : first + at_once]
            starts = self._starts(run, [rows[place] for place in chosen], targeted, trunk)
            asked: dict[str, set[int]] = {}
            for place, row in enumerate(rows[place] for place in chosen):
                for layer in row.recorded:
                    asked.setdefault(layer.name, set()).add(place)
            sums = _Sums(asked, self._layers)
            found = self.network.backward(run, starts, {source}, sums)
            if source in found:
                reached, pixels = found[source]
                heatmaps[torch.tensor(chosen, device=self._device)[reached]] = self._heatmaps(pixels)
            for place, row in zip(chosen, (rows[place] for place in chosen), strict=True):
                for layer in row.recorded:
                    empty = torch.zeros(self._n_channels(layer), dtype=torch.float64, device=self._device)
                    records[place][layer.name] = sums.found.get((layer.name, chosen.index(place)), empty)
        return heatmaps, records

    def _trunk(self, run: Run, targets: Sequence[int], layers: Collection[str]) -> dict[str, torch.Tensor]:
        """Compute the relevance of values for each target, (n_targets, ...)."""
        if not targets:
            return {}
        output = self.network.graph.output
        logits = run.outputs[output]
        start = logits.new_zeros((len(targets), logits.shape[1]))
        for place, target in enumerate(targets):
            start[place, target] = logits[0, target]
        rows = torch.arange(len(targets), device=self._device)
        found = self.network.backward(run, {output: (rows, start)}, layers)
        return {name: relevance for name, (_, relevance) in found.items()}

    def _starts(
        self, run: Run, rows: Sequence[Row], targets: Sequence[int], trunk: Mapping[str, torch.Tensor]
    ) -> dict[str, Rows]:
        """Start each row at its layer: with the trunk's relevance or the layer's activation, at a channel or neuron."""
        places: dict[str, list[int]] = {}
        for place, row in enumerate(rows):
            # where a convolution is read raw and normalised, its activation is the normalised one
            values = row.layer.values if row.target is not None else row.layer.values[:1]
            for value in values:
                places.setdefault(value, []).append(place)
        starts: dict[str, Rows] = {}
        for value, chosen in places.items():
            masked = run.outputs[value].new_zeros((len(chosen), *run.outputs[value].shape[1:]))
            for at, place in enumerate(chosen):
                row = rows[place]
                target = row.target
                source = run.outputs[value] if target is None else trunk[value][targets.index(target), None]
                _mask(row.layer.maps(masked[at : at + 1]), row.layer.maps(source), row)
            starts[value] = torch.tensor(chosen, device=self._device), masked
        return starts

    @property
    def _rows_at_once(self) -> int:
        return max(1, ROW_ELEMENTS // self._largest_map)

    @cached_property
    def _largest_map(self) -> int:
        """Return the elements of the largest value of one image."""
        return max(math.prod(shape) for shape in (self._input_shape, *(node.shape for node, _ in self.network.steps)))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {node.name: place for place, (node, _) in enumerate(self.network.steps)}

    def _depth(self, layer: Layer) -> int:
        return -self._places[layer.values[0]]

    def _n_channels(self, layer: Layer) -> int:
        shape = self.assignment.facts.shapes[layer.values[0]]
        return shape[layer.axis - 1]

    def _layer(self, name: str) -> Layer:
        if name not in self._layers:
            raise ModelError(f"layer {name} was not selected; the engine knows {', '.join(self.layer_names)}")
        return self._layers[name]

    # --- numbers ------------------------------------------------------------------------------------------------

    def _forward_logits(self, values: torch.Tensor) -> torch.Tensor:
        output = self.network.graph.output
        return self.network.forward(values, wanted={output}).outputs[output]

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
        return summing_dtype(self._dtype)

    def _reported(self, values: torch.Tensor) -> torch.Tensor:
        return values.to(self._reported_dtype)

    def _heatmaps(self, flow: torch.Tensor) -> torch.Tensor:
        return flow.sum(1, dtype=self._reported_dtype)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Without autograd, with TF32 exactly where it was asked for, and the same result each time."""
        tf32 = self._config.precision == "tf32"
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = tf32
        try:
            with (
                torch.inference_mode(),
                torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=tf32),
            ):
                yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before


def describe(assignment: Assignment, layers: Mapping[str, Layer], names: Mapping[str, str]) -> tuple[LayerInfo, ...]:
    """Describe layers, in forward order, with what runs beside each; `names` says what values are called."""
    steps = tuple(zip(assignment.graph.nodes, assignment.rules, strict=True))
    infos = describe_layers(assignment.graph, layers, assignment.reaches)
    cuts = [find_cut(steps, assignment.flowing, layers[info.name]) for info in infos]
    return tuple(
        replace(info, beside=tuple(names.get(value, value) for value in cut.beside))
        for info, cut in zip(infos, cuts, strict=True)
    )


def _find(name: str, known: Mapping[str, Layer], flowing: Collection[str], model: str) -> Layer:
    layer = known.get(name)
    if layer is None:
        raise ModelError(f"{model} has no layer {name!r}; it has {', '.join(list(known)[:30])}")
    if not any(value in flowing for value in layer.values):
        raise ModelError(
            f"no relevance reaches layer {name!r} of {model}: it lies inside a gate, which weighs what others say. "
            "Choose another layer"
        )
    return layer


def _neuron_request(image: int, row: Row) -> NeuronRequest:
    assert row.neuron is not None, "only single neurons go by window"
    return NeuronRequest(image, row.layer.values[0], row.channel, row.neuron)


def _mask(masked: torch.Tensor, source: torch.Tensor, row: Row) -> None:
    """Copy one channel, or one neuron of it, of (1, n_channels, ...) maps."""
    if row.neuron is None or source.dim() == 2:
        masked[:, row.channel] = source[:, row.channel]
    else:
        place = divmod(row.neuron, source.shape[3])
        masked[0, row.channel, place[0], place[1]] = source[0, row.channel, place[0], place[1]]


def _gathered(parts: Sequence[Rows]) -> Rows:
    """Add up relevance that arrived on several ways, row by row."""
    rows, relevance = parts[0]
    if len(parts) == 1:
        return rows, relevance
    if all(other is rows or torch.equal(other, rows) for other, _ in parts[1:]):
        for _, values in parts[1:]:
            relevance = relevance + values
        return rows, relevance
    joined = torch.unique(torch.cat([index for index, _ in parts]))
    total = relevance.new_zeros((len(joined), *relevance.shape[1:]))
    for index, values in parts:
        total.index_add_(0, torch.searchsorted(joined, index), values)
    return joined, total


def _channel_sums(maps: torch.Tensor) -> torch.Tensor:
    """Sum (n, n_channels, ...) over space in float64."""
    return maps.sum((2, 3), dtype=torch.float64) if maps.dim() == 4 else maps.to(torch.float64, copy=True)
