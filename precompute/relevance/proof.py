"""The proof that what is explained is the model itself, on the user's own images.

Owns the comparison of the graph's logits with the model's, of each operation's relevance with what it was given, and
of the parts that a logit is split into above each layer with the logit.
Must not know data sets or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from precompute.config import RelevanceConfig
from precompute.errors import UnsupportedModel
from precompute.network.graph import Graph, map_tensors
from precompute.network.layers import Layer, find_channel_axes
from precompute.records import LogitParts

from .assignment import Assignment, assign
from .channel_scores import start_relevance
from .cut import EdgeSums, TakenSums, find_cut
from .operations import Kept, Rule

TOLERANCES = {"float64": 1e-9, "float32": 1e-3, "tf32": 2e-2, "bf16": 1e-1}
"""Largest difference of a logit, over the largest absolute logit of the batch, by precision."""


class LogitProof:
    """Compares the logits of the graph with those of the model.

    Parameters
    ----------
    module : nn.Module
    device : torch.device
    precision : str
    name : str
        Of the model, for messages.

    Attributes
    ----------
    deviation : float
        The largest relative deviation so far.
    n_images : int
        Images compared so far.
    """

    def __init__(self, module: nn.Module, device: torch.device, precision: str, name: str) -> None:
        self._module, self._device, self._precision, self._name = module, device, precision, name
        self.deviation, self.n_images = 0.0, 0

    def check(self, images: torch.Tensor, logits: torch.Tensor) -> float:
        """Compare one batch.

        Returns
        -------
        float
            The largest difference, over the largest absolute logit of the batch.

        Raises
        ------
        UnsupportedModel
            The graph does not compute what the model computes.
        """
        parameter = next((weight for weight in self._module.parameters() if weight.is_floating_point()), None)
        given = images if parameter is None else images.to(parameter)
        with torch.no_grad():
            own = self._module(given.clone())
        tolerance = TOLERANCES[self._precision]
        if own.dtype == torch.float32:
            tolerance = max(tolerance, TOLERANCES["float32"])
        found, own = logits.double().cpu(), own.double().cpu()
        finite = own.isfinite() & found.isfinite()
        scale = float(own[finite].abs().max()) if finite.any() else 0.0
        off = float((found - own)[finite].abs().max()) / max(scale, 1e-30) if finite.any() else 0.0
        self.deviation, self.n_images = max(self.deviation, off), self.n_images + len(images)
        if off > tolerance or not torch.equal(own.isfinite(), found.isfinite()):
            raise UnsupportedModel(
                f"{self._name} cannot be explained: read as a graph it gives other logits than itself (off by "
                f"{off:.2g} of the largest, allowed {tolerance:.0e} in {self._precision}). "
                "Something in its forward changes from call to call, or computes in another precision (autocast, "
                "half); take that out for evaluation"
            )
        return off


@dataclass(frozen=True)
class Conservation:
    """How one operation keeps relevance.

    Attributes
    ----------
    value : str
        Name of the operation's value in the graph.
    operation, where : str
        ATen's name; the module and, where known, the line.
    residual : float
        Relevance that is neither handed on nor taken by a stabiliser, over the sum of absolute relevance handed to
        the operation; the largest over the images.
    overclaimed : float
        Relevance that the rule says is taken up where nothing can take it, in the same unit. The rule's own word is
        not enough: with biases off a constant can take only what lies on outputs that do not follow the input, and
        nothing takes less than nothing or more than all.
    """

    value: str
    operation: str
    where: str
    residual: float
    overclaimed: float = 0.0


LARGE_WEIGHT = 2**22
"""Elements from which on a linear layer's weight stays in its own precision, so that no copy of all of it is made."""

CONSERVED = 1e-9
"""Largest residual of an operation in float64."""


def measure_conservation(
    graph: Graph,
    images: torch.Tensor,
    targets: Sequence[int] | None = None,
    *,
    composite: str = "EpsilonPlusFlat",
    rules: Mapping[str, str] | None = None,
    gates: str = "signal",
    name: str = "the model",
) -> list[Conservation]:
    """Measure how each operation keeps relevance, with biases off, in float64.

    Parameters
    ----------
    graph : Graph
        Simplified.
    images : (n, channels, height, width) float
        Real ones: what photos reach, noise may not. Computed on their device.
    targets : sequence of int, optional
        The class explained of each image; by default the prediction.
    composite, rules, gates : optional
        As relevance is computed for the atlas.
    name : str
        Of the model, for messages.

    Returns
    -------
    list of Conservation
        In the order of execution, of the operations that relevance reaches.
    """
    with torch.no_grad():
        assignment = assign(graph, composite=composite, rules=rules, gates=gates, zero_params=True, name=name)
        values, kept = _run(assignment, images)
        logits = values[assignment.graph.output]
        chosen = logits.argmax(1) if targets is None else torch.tensor(list(targets), device=logits.device)
        flow = {assignment.graph.output: start_relevance(logits, chosen)}
        found = []
        for node, given_rule in reversed(list(zip(assignment.graph.nodes, assignment.rules, strict=True))):
            if node.name not in flow or not given_rule.signals:
                continue
            rule, given = _in_double(given_rule, assignment, images.device), flow.pop(node.name)
            absorbed = rule.absorb(kept[node.name], given)
            scale = given.abs().flatten(1).sum(1).clamp(min=1e-300)
            overclaimed = float((_overclaimed(rule, values, kept[node.name], given) / scale).max())
            left = given.flatten(1).sum(1) - absorbed.constant - absorbed.stabiliser
            for source, part in zip(rule.signals, rule.backward(kept[node.name], given.clone()), strict=True):
                left = left - part.flatten(1).sum(1)
                flow[source] = flow[source] + part if source in flow else part
            residual = float((left.abs() / scale).max())
            found.append(Conservation(node.name, node.operation, node.where, residual, overclaimed))
        return found[::-1]


def _in_double(rule: Rule, assignment: Assignment, device: torch.device) -> Rule:
    """Make a rule anew in float64 on a device; one at a time, since all of a network's weights are a lot of memory."""

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        is_large = rule.node.operation == "linear" and tensor.numel() > LARGE_WEIGHT  # it converts such a one in pieces
        return tensor.to(device, torch.float64 if tensor.is_floating_point() and not is_large else None)

    arguments = {key: map_tensors(part, moved) for key, part in rule.node.arguments.items()}
    return type(rule)(replace(rule.node, arguments=arguments), assignment.facts)


def _run(assignment: Assignment, images: torch.Tensor) -> tuple[dict[str, torch.Tensor], dict[str, Kept]]:
    """Run forward in float64: every value, and what each rule keeps."""
    values, kept = {assignment.graph.input: images.double()}, {}
    for given in assignment.rules:
        rule = _in_double(given, assignment, images.device)
        values[rule.node.name], kept[rule.node.name] = rule.forward_keeping(values, len(images))
    return values, kept


def measure_parts(
    graph: Graph,
    layers: Mapping[str, Layer],
    image: torch.Tensor,
    target: int,
    *,
    config: RelevanceConfig | None = None,
    name: str = "the model",
) -> tuple[float, dict[str, LogitParts]]:
    """Measure where the relevance of one logit goes on its way down to each layer, in float64.

    Parameters
    ----------
    graph : Graph
        Simplified.
    layers : mapping of str to Layer
    image : (1, channels, height, width) float
        Computed on its device.
    target : int
        The class explained.
    config : RelevanceConfig, optional
        Which rules there are, as relevance is computed for the atlas.
    name : str
        Of the model, for messages.

    Returns
    -------
    logit : float
    parts : dict of str to LogitParts
        In units of the logit, with the sign turned where that is negative.

    Raises
    ------
    UnsupportedModel
        The parts above a layer do not add up to the logit.
    """
    with torch.no_grad():
        given = config or RelevanceConfig()
        made = assign(
            graph,
            composite=given.composite,
            rules=given.rules,
            gates=given.gates,
            zero_params=given.zero_params,
            name=name,
        )
        steps = tuple(zip(made.graph.nodes, made.rules, strict=True))
        cuts = {layer: find_cut(steps, made.flowing, found) for layer, found in layers.items()}
        edges = EdgeSums(frozenset(edge for cut in cuts.values() for edge in cut.edges), find_channel_axes(made.graph))
        values, kept = _run(made, image)
        logits = values[made.graph.output]
        logit = float(logits[0, target])
        flow = {made.graph.output: start_relevance(logits, torch.tensor([target], device=logits.device))}
        arrived: dict[str, float] = {}
        taken, largest = TakenSums(), abs(logit)
        for node, given_rule in reversed(steps):
            arriving = flow.pop(node.name, None)
            if arriving is None or not given_rule.signals:
                continue
            rule = _in_double(given_rule, made, image.device)
            arrived[node.name] = float(arriving.sum())
            largest = max(largest, float(arriving.abs().sum()))
            taken.note(node.name, rule, kept[node.name], arriving)
            parts = rule.backward(kept[node.name], arriving)
            edges.note(node.name, rule.signals, parts)
            for source, part in zip(rule.signals, parts, strict=True):
                flow[source] = flow[source] + part if source in flow else part
        sign = -1.0 if logit < 0 else 1.0
        found = {}
        for layer, cut in cuts.items():
            own = sum(arrived.get(value, 0.0) for value in layers[layer].values)
            beside = sum(float(part.sum()) for part in edges.of(cut).values())
            biases, stabilisers = taken.of(cut)
            missing = abs(logit - own - beside - biases - stabilisers)
            if not missing <= CONSERVED * largest:
                raise UnsupportedModel(
                    f"{name} cannot be explained: above layer {layer!r} the relevance of a logit of {logit:.4g} does "
                    f"not add up to it: {missing:.2g} is neither at the layer nor beside it, nor taken by biases or "
                    "stabilisers. Choose another layer, and report the network"
                )
            found[layer] = LogitParts(sign * own, sign * beside, sign * biases, sign * stabilisers, missing)
        return logit, found


def _overclaimed(rule: Rule, values: Mapping[str, torch.Tensor], kept: Kept, relevance: torch.Tensor) -> torch.Tensor:
    """Compute how far what a rule says it takes of |relevance| lies outside of what can be taken, (n,) float64 >= 0."""
    size = relevance.abs()
    claim = rule.absorb(kept, size.clone())
    all_of_it = size.flatten(1).sum(1)
    on_constants = torch.zeros_like(all_of_it)
    if claim.constant.any():
        on_constants = (size * ~_follows(rule, values, len(relevance))).flatten(1).sum(1)
    limits = (
        (claim.constant, on_constants),
        (claim.stabiliser, all_of_it),
        (claim.constant + claim.stabiliser, all_of_it),
    )
    outside = [torch.maximum(-taken, taken - most).clamp(min=0) for taken, most in limits]
    return torch.stack(outside).nan_to_num(nan=torch.inf).amax(0)


def _follows(rule: Rule, values: Mapping[str, torch.Tensor], n: int) -> torch.Tensor:
    """Tell for each output, (n, ...) bool, whether it changes with the inputs that take relevance."""
    generator = torch.Generator().manual_seed(0)
    moved = dict(values)
    for name in rule.signals:
        value = values[name]
        moved[name] = value + torch.randn(value.shape, generator=generator, dtype=value.dtype).to(value.device)
    return rule.forward(values, n) != rule.forward(moved, n)


def check_conservation(measured: Sequence[Conservation], name: str = "the model") -> float:
    """Return the largest residual; raises UnsupportedModel, naming the operation, where it is too large."""
    boldest = max(measured, key=lambda one: one.overclaimed)
    if not boldest.overclaimed <= CONSERVED:
        raise UnsupportedModel(
            f"{name} cannot be explained: the rule of {boldest.operation!r} in {boldest.where} says that "
            f"{boldest.overclaimed:.2g} of the relevance handed to it is taken up where nothing can take it, allowed "
            f"{CONSERVED:.0e}. Derive a rule from Pass where relevance passes unchanged, from Transposed only where "
            "each output is one of the inputs moved, and from Proportional where values are weighed or added up"
        )
    worst = max(measured, key=lambda one: one.residual)
    if not worst.residual <= CONSERVED:
        raise UnsupportedModel(
            f"{name} cannot be explained: the rule of {worst.operation!r} in {worst.where} loses {worst.residual:.2g} "
            f"of the relevance handed to it, allowed {CONSERVED:.0e}. The operation has an argument that its rule does "
            "not know; rewrite it, and report the operation"
        )
    return worst.residual
