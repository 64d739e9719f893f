"""Which rule each operation of a graph gets, by data flow, and the refusal of what has none.

Owns the composites EpsilonPlusFlat and EpsilonPlus as data flow makes them (Flat goes to the convolutions and linear
layers that the image reaches first, the half of ZPlus for negative inputs to those whose input may be negative), and
the rules that a config gives to layers by name. Must not know formulas, data or files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch

from precompute.errors import ConfigError, ModelError, UnsupportedModel, nearest_of
from precompute.network.folding import LINEAR
from precompute.network.graph import Graph, Node, map_tensors
from precompute.network.layers import LAYER_KINDS, Layer, find_layers, match_layers
from precompute.network.receptive_field import Reach

from .operations import (
    GATES,
    KEEP_GATES,
    SCALES,
    SHAPED,
    SQUASHES,
    STILL,
    TABLE,
    Convolution,
    Facts,
    Linear,
    NoRule,
    Rule,
    Still,
)


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

    def count_rules(self) -> dict[str, int]:
        """Count the convolutions and linear layers that relevance reaches, by their rule."""
        return dict(Counter(rule.by for rule in self.rules if isinstance(rule, Convolution | Linear)))

    def reached(self, layers: Mapping[str, Layer]) -> dict[str, Layer]:
        """Leave out the layers that no relevance reaches: those inside gates."""
        return {name: layer for name, layer in layers.items() if self.flowing.intersection(layer.values)}


def assign(
    graph: Graph,
    *,
    composite: str = "EpsilonPlusFlat",
    rules: Mapping[str, str] | None = None,
    gates: str = "signal",
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
    rules : mapping of str to {"epsilon", "zplus", "flat"}, optional
        The rule of convolutions and linear layers by name or pattern, in place of the composite's.
    gates : {"signal", "half"}
        Whether gates take no relevance, or as much as the signals that they weigh.
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
    ConfigError
        A pattern of `rules` matches no convolution or linear layer, or two give one layer different rules.
    """
    facts = Facts(flat=composite == "EpsilonPlusFlat", zero_params=zero_params, halves=gates == "half")
    try:
        facts.rules = resolve_rules(graph, rules or {})
        return _assign(graph, facts, device, dtype or graph.dtype, name)
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
    facts: Facts,
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
    _find_facts(graph, facts, name)
    facts.saying.add(graph.output)
    flowing = {graph.output}
    rules: list[Rule] = []
    for node in reversed(nodes):
        rule = _make(node, facts, name, flows=node.name in flowing)
        flowing.update(rule.signals)
        _note_gates(node, rule, facts)
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


def resolve_rules(graph: Graph, patterns: Mapping[str, str]) -> dict[str, str]:
    """Find which rule each value gets that a pattern names.

    Raises
    ------
    ConfigError
        A pattern matches no convolution or linear layer, or two patterns give one layer different rules.
    """
    if not patterns:
        return {}
    weighted = {layer.name: layer for layer in find_layers(graph).values() if layer.kind in LAYER_KINDS.values()}
    chosen: dict[str, tuple[str, str]] = {}
    for pattern, rule in patterns.items():
        try:
            matched = match_layers(list(weighted), [pattern])
        except ModelError as error:
            nearest = nearest_of(pattern, list(weighted), cutoff=0.4, otherwise="they are")
            raise ConfigError(
                f"relevance.rules: {pattern!r} matches no convolution or linear layer, and only these have a rule to "
                f"choose{nearest}"
            ) from error
        for layer in sorted(matched):
            before = chosen.get(layer)
            if before is None or layer == pattern:
                chosen[layer] = (pattern, rule)
            elif before[0] != layer and before[1] != rule:
                raise ConfigError(
                    f"relevance.rules: layer {layer!r} gets {before[1]!r} from {before[0]!r} and {rule!r} from "
                    f"{pattern!r}; name it by its own name, which goes first, or narrow one of the patterns"
                )
    return {value: rule for layer, (_, rule) in chosen.items() for value in weighted[layer].values}


def _note_gates(node: Node, rule: Rule, facts: Facts) -> None:
    """Note which gates take relevance as gates, and which as what they say themselves."""
    weighs = node.operation == "mul" and len(rule.signals) > 1
    for value in rule.signals:
        if value in facts.gates and (weighs or node.name in facts.weighing):
            facts.weighing.add(value)
        if value not in facts.gates or not (weighs or node.name not in facts.saying):
            facts.saying.add(value)


def _find_facts(graph: Graph, facts: Facts, name: str) -> None:
    facts.shapes[graph.input] = graph.input_shape
    facts.data.add(graph.input)
    facts.raw.add(graph.input)
    for node in graph.nodes:
        facts.shapes[node.name] = node.shape
        inputs = [value for value in node.inputs if value in facts.data]
        if not inputs or node.operation in SHAPED:
            continue
        facts.data.add(node.name)
        _check_batch(node, facts, name)
        if node.operation in GATES | SCALES or (
            node.operation in KEEP_GATES and all(value in facts.gates for value in inputs)
        ):
            facts.gates.add(node.name)
            if node.operation in SCALES or (node.operation not in GATES and facts.scales.issuperset(inputs)):
                facts.scales.add(node.name)
        if node.operation not in LINEAR and all(value in facts.raw for value in inputs):
            facts.raw.add(node.name)
        if _is_nonnegative(node, facts):
            facts.nonnegative.add(node.name)


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
            ""
            if node.operation not in GATES and node.operation != "log_softmax"
            else ': gates of its kind take no relevance; set relevance.gates = "signal"'
            if node.name in facts.weighing and node.name not in facts.saying
            else SQUASHES
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
