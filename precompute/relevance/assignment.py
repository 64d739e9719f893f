"""Which rule each operation of a graph gets, by data flow, and the refusal of what has none.

Owns the composites EpsilonPlusFlat and EpsilonPlus as data flow makes them: Flat goes to the convolutions and linear
layers that the image reaches first, the half of ZPlus for negative inputs to those whose input may be negative. Must
not know formulas, data or files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch

from precompute.errors import UnsupportedModel
from precompute.network.folding import LINEAR
from precompute.network.graph import Graph, Node, map_tensors
from precompute.network.layers import Layer
from precompute.network.receptive_field import Reach

from .operations import GATES, KEEP_GATES, SHAPED, STILL, TABLE, Facts, NoRule, Rule, Still


@dataclass(frozen=True, eq=False)
class Assignment:
    """A graph with the rule of every node.

    Attributes
    ----------
    graph : Graph
    rules : tuple of Rule
        In the order of the graph's nodes.
    reaches : dict of str to Reach or None
        How far each node sees, by the name of its value.
    facts : Facts
    flowing : frozenset of str
        Values that relevance reaches on its way from the logits.
    """

    graph: Graph
    rules: tuple[Rule, ...]
    reaches: dict[str, Reach | None]
    facts: Facts
    flowing: frozenset[str]

    def reached(self, layers: Mapping[str, Layer]) -> dict[str, Layer]:
        """Leave out the layers that no relevance reaches: those inside gates."""
        return {name: layer for name, layer in layers.items() if self.flowing.intersection(layer.values)}


def assign(
    graph: Graph,
    *,
    composite: str = "EpsilonPlusFlat",
    zero_params: bool = False,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
    name: str = "the model",
) -> Assignment:
    """Give every operation its rule.

    Parameters
    ----------
    graph : Graph
        Simplified.
    composite : {"EpsilonPlusFlat", "EpsilonPlus"}
    zero_params : bool
        Leave biases out of the rules.
    device, dtype : optional
        Where and in which precision the rules compute; by default as the graph was captured.
    name : str
        Of the model, for messages.

    Raises
    ------
    UnsupportedModel
        An operation has no rule where it stands. Names it, its module and, where known, the line; where the network
        computes attention, that alone, since nothing else would help.
    """
    try:
        return _assign(graph, composite, zero_params, device, dtype or graph.dtype, name)
    except UnsupportedModel as refusal:
        if (found := _attention(graph)) is None:
            raise
        raise UnsupportedModel(
            f"{name} cannot be explained: {found.where} computes attention ({found.operation!r}), for which there is "
            "no rule of relevance. Transformers cannot be explained yet: choose a convolutional network"
        ) from refusal


_PRODUCTS = frozenset({"matmul", "bmm", "baddbmm", "einsum"})


def _attention(graph: Graph) -> Node | None:
    """Find the first attention: a product of two values that depend on the image, one of them by way of a softmax."""
    data, weights = {graph.input}, set[str]()
    for node in graph.nodes:
        signals = [value for value in node.inputs if value in data]
        weighted = weights.intersection(signals)
        if node.operation == "scaled_dot_product_attention" or (
            node.operation in _PRODUCTS and len(signals) > 1 and weighted
        ):
            return node
        if signals and node.operation not in SHAPED:
            data.add(node.name)
        if node.operation == "softmax" or weighted:
            weights.add(node.name)
    return None


def _assign(
    graph: Graph,
    composite: str,
    zero_params: bool,
    device: torch.device | None,
    dtype: torch.dtype,
    name: str,
) -> Assignment:

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)

    nodes = tuple(
        replace(node, arguments={key: map_tensors(part, moved) for key, part in node.arguments.items()})
        for node in graph.nodes
    )
    graph = replace(graph, nodes=nodes)
    facts = _find_facts(graph, name)
    facts.flat, facts.zero_params = composite == "EpsilonPlusFlat", zero_params
    flowing = {graph.output}
    rules: list[Rule] = []
    for node in reversed(nodes):
        rule = _make(node, facts, name, flows=node.name in flowing)
        flowing.update(rule.signals)
        rules.append(rule)
    if graph.input not in flowing:
        raise UnsupportedModel(
            f"{name} cannot be explained: no relevance reaches the image, because every way to it goes through a gate, "
            "or there is none"
        )
    reaches = {
        node.name: TABLE[node.operation].find_reach(node, facts) if node.operation in TABLE else None for node in nodes
    }
    return Assignment(graph, tuple(reversed(rules)), reaches, facts, frozenset(flowing))


def _find_facts(graph: Graph, name: str) -> Facts:
    facts = Facts({graph.input: graph.input_shape})
    facts.data.add(graph.input)
    facts.raw.add(graph.input)
    for node in graph.nodes:
        facts.shapes[node.name] = node.shape
        inputs = [value for value in node.inputs if value in facts.data]
        if not inputs or node.operation in SHAPED:
            continue
        facts.data.add(node.name)
        _check_batch(node, facts, name)
        if node.operation in GATES or (node.operation in KEEP_GATES and all(value in facts.gates for value in inputs)):
            facts.gates.add(node.name)
        if node.operation not in LINEAR and all(value in facts.raw for value in inputs):
            facts.raw.add(node.name)
        if _is_nonnegative(node, facts):
            facts.nonnegative.add(node.name)
    return facts


def _is_nonnegative(node: Node, facts: Facts) -> bool:
    if node.operation in ("sigmoid", "hardsigmoid", "softmax", "abs", "exp", "square", "sqrt", "rsqrt"):
        return True
    rule = TABLE.get(node.operation)
    return rule is not None and rule.is_nonnegative(node, facts)


def _check_batch(node: Node, facts: Facts, name: str) -> None:
    """Refuse what could let one image of a batch change the answer for another."""
    makes_axis = node.operation in ("stack", "unsqueeze")
    axes = [part for key in ("dim", "dims", "axis") for part in _numbers(node.arguments.get(key))]
    n_axes = len(node.shape if makes_axis else facts.shapes[node.inputs[0]]) + 1
    along = any(axis in (0, -n_axes) for axis in axes) and node.operation not in ("permute", "transpose")
    rolled = node.operation == "roll" and not axes
    if not node.batched or along or rolled:
        raise _refused(
            node,
            name,
            "which works across the images of a batch, or hides which row belongs to which image; keep the first axis "
            "for the images and give reductions their axes",
        )


def _numbers(part: object) -> Iterable[int]:
    if isinstance(part, int) and not isinstance(part, bool):
        return (part,)
    return tuple(axis for axis in part if isinstance(axis, int)) if isinstance(part, tuple) else ()


def _make(node: Node, facts: Facts, name: str, *, flows: bool) -> Rule:
    kind = TABLE.get(node.operation)
    if node.name not in facts.data:
        return Still(node, facts)
    if not flows:
        if kind is None and node.operation not in GATES and node.operation not in STILL:
            raise _refused(node, name, "inside a gate, of which it is not known that it treats each image by itself")
        return Still(node, facts)
    if kind is None:
        reason = "for which there is no rule of relevance" + (
            ": it squashes the signal itself, not a gate; where it ends the network, return the logits before it"
            if node.operation in GATES or node.operation == "log_softmax"
            else ""
        )
        raise _refused(node, name, reason)
    try:
        return kind(node, facts)
    except NoRule as reason:
        raise _refused(node, name, f"for which there is no rule of relevance here: it {reason}") from reason


def _refused(node: Node, name: str, reason: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"{name} cannot be explained: {node.where} computes {node.operation!r}, {reason}. Rewrite that operation, or "
        "add its rule as docs/architecture.md shows"
    )
