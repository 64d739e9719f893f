"""The graph made simple: one spelling for each operation, identities gone, norms merged into what feeds them.

Owns what may be rewritten without changing a single output. Must not know rules of relevance, data or files.

A norm at evaluation is an affine map of each channel. Behind a convolution or a linear layer, by data flow and through
other such maps (a hook that halves the output, a scale written out), it is one convolution with the map in its weight
and bias, the eps inside the variance. A convolution that others read raw as well stays beside its merged copy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch

from .graph import Argument, BatchSize, Graph, Node, Value, drop_unread

LINEAR = frozenset(("conv2d", "linear"))
"""Operations whose weight takes up an affine map behind them."""

_IDENTITIES = frozenset(
    (
        *("dropout", "native_dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "alias"),
        *("detach", "clone", "contiguous", "lift_fresh", "lift_fresh_copy", "detach_"),
    )
)
"""Operations that change nothing at evaluation; a dropout that is on was refused when the graph was captured."""

_CASTS = frozenset(("to", "_to_copy", "type_as", "float", "double"))

_SPELLINGS = {
    "_native_batch_norm_legit_no_training": "batch_norm",
    "_unsafe_view": "view",
    "reshape": "view",
    "convolution": "conv2d",
    "max_pool2d_with_indices": "max_pool2d",
    "adaptive_max_pool2d": "adaptive_max_pool2d",
    "constant_pad_nd": "pad",
    "native_layer_norm": "layer_norm",
    "native_group_norm": "group_norm",
    "_adaptive_avg_pool2d": "adaptive_avg_pool2d",
    "_softmax": "softmax",
    "hardtanh": "clamp",
    "relu6": "clamp",
    "true_divide": "div",
    "multiply": "mul",
    "subtract": "sub",
    "clip": "clamp",
    "concat": "cat",
    "concatenate": "cat",
}

_SHAPED_AS = {
    "expand_as": ("expand", torch.ops.aten.expand.default, "size"),
    "view_as": ("view", torch.ops.aten.reshape.default, "shape"),
    "reshape_as": ("view", torch.ops.aten.reshape.default, "shape"),
}
"""Operations that take of another value its shape, and what they are with the shape written out."""


def simplify(graph: Graph) -> Graph:
    """Rewrite a captured graph; its outputs stay what they are.

    Returns
    -------
    Graph
        Every operation under one name, without identities, norms merged where a convolution or linear layer feeds
        them.
    """
    return _merge_norms(_drop_identities(_respell(_lay_stacks_beside(graph))))


class Affine(NamedTuple):
    """A map x * scale + shift of each channel; (n_channels,) or (1,) float64."""

    source: str
    scale: torch.Tensor
    shift: torch.Tensor
    shifts: bool
    """Whether it is more than a scale: a norm, or a constant added."""


def read_affine(  # noqa: C901, PLR0911 - one line for each kind
    node: Node, channel_axis: int, n_channels: int, n_dimensions: int
) -> Affine | None:
    """Read a node as an affine map of each channel of its input; None where it is none.

    Parameters
    ----------
    node : Node
    channel_axis : int
        Of the input, the batch axis counted.
    n_channels, n_dimensions : int
        Of the input, the batch axis counted.
    """
    given = node.arguments
    if node.operation == "batch_norm":
        if channel_axis != 1 or given["running_mean"] is None or given.get("training"):
            return None
        scale, shift = norm_affine(given)
        return Affine(given["input"].name, scale, shift, shifts=True)
    if node.operation not in ("mul", "div", "add", "sub", "neg", "rsub"):
        return None
    left, right = given["self"], given.get("other")
    values = [part for part in (left, right) if isinstance(part, Value)]
    if len(values) != 1 or given.get("rounding_mode"):
        return None
    one = torch.ones(1, dtype=torch.float64)
    if node.operation == "neg":
        return Affine(left.name, -one, 0 * one, shifts=False)
    constant = _per_channel(right if isinstance(left, Value) else left, channel_axis, n_channels, n_dimensions)
    if constant is None:
        return None
    source, alpha = values[0].name, float(given.get("alpha", 1))
    swapped = not isinstance(left, Value)
    match node.operation:
        case "mul":
            return Affine(source, constant, 0 * one, shifts=False)
        case "div":
            return None if swapped else Affine(source, 1 / constant, 0 * one, shifts=False)
        case "add":
            return Affine(
                source, alpha * one if swapped else one, constant if swapped else alpha * constant, shifts=True
            )
        case "rsub":  # other - alpha * self
            return Affine(source, -alpha * one, constant, shifts=True)
        case _:
            scale, shift = (-alpha * one, constant) if swapped else (one, -alpha * constant)
            return Affine(source, scale, shift, shifts=True)


def norm_affine(arguments: Mapping[str, Argument]) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the (n_channels,) float64 scale and shift of a batch norm at evaluation, its eps inside the variance."""
    mean, variance = arguments["running_mean"].double(), arguments["running_var"].double()
    scale = (variance + arguments["eps"]) ** -0.5
    if arguments["weight"] is not None:
        scale = scale * arguments["weight"].double()
    bias = 0 if arguments["bias"] is None else arguments["bias"].double()
    return scale, bias - mean * scale


def _per_channel(constant: Argument, axis: int, n_channels: int, n_dimensions: int) -> torch.Tensor | None:
    """Read a number or a tensor as one value for each channel."""
    if isinstance(constant, bool) or constant is None:
        return None
    if isinstance(constant, int | float):
        return torch.tensor([float(constant)], dtype=torch.float64)
    if not isinstance(constant, torch.Tensor) or not constant.is_floating_point():
        return None
    if constant.numel() == 1:
        return constant.double().reshape(1)
    shape = (1,) * (n_dimensions - constant.dim()) + tuple(constant.shape)
    if len(shape) != n_dimensions or shape[axis] != n_channels or constant.numel() != n_channels:
        return None
    return constant.double().reshape(-1)


# --- stacks ---------------------------------------------------------------------------------------------------------

_REDUCTIONS = frozenset(("sum", "mean", "amax"))


def _lay_stacks_beside(graph: Graph) -> Graph:
    """Stack what is reduced along the axis before the images behind it: ``stack([a, b]).sum(0)`` is a + b."""
    made = {node.name: node for node in graph.nodes}
    nodes: list[Node] = []
    for node in graph.nodes:
        stacked = made.get(next(iter(node.inputs), "")) if node.operation in _REDUCTIONS else None
        parts = [made.get(name) for name in stacked.inputs] if stacked and stacked.operation == "stack" else []
        first = parts[0] if parts else None
        dims = node.arguments.get("dim")
        axes = (dims,) if isinstance(dims, int) else dims
        if first is None or stacked is None or not all(part is not None and part.batched for part in parts):
            nodes.append(node)
            continue
        n_axes = len(first.shape) + 2
        leading = isinstance(axes, tuple) and len(axes) == 1 and axes[0] in (0, -n_axes)
        if stacked.arguments["dim"] not in (0, -n_axes) or not leading or node.arguments.get("keepdim"):
            nodes.append(node)
            continue
        beside = replace(
            stacked,
            name=f"{node.name}_beside",
            arguments={**stacked.arguments, "dim": 1},
            shape=(len(stacked.arguments["tensors"]), *first.shape),
            batched=True,
        )
        given = {**node.arguments, "self": Value(beside.name), "dim": 1 if isinstance(dims, int) else (1,)}
        nodes += [beside, replace(node, arguments=given)]
    return drop_unread(replace(graph, nodes=tuple(nodes)))


# --- one spelling ---------------------------------------------------------------------------------------------------


def _respell(graph: Graph) -> Graph:
    return replace(graph, nodes=tuple(new for node in graph.nodes for new in _spelled(_with_shape(node))))


def _with_shape(node: Node) -> Node:
    """Write out the shape that a node takes of another value: nothing else of that value is read."""
    if node.operation not in _SHAPED_AS or not node.batched:
        return node
    spelling, target, key = _SHAPED_AS[node.operation]
    arguments = {"self": node.arguments["self"], key: (BatchSize(), *node.shape)}
    return replace(node, operation=spelling, target=target, arguments=arguments)


def _spelled(node: Node) -> tuple[Node, ...]:  # noqa: C901, PLR0911, PLR0912 - one line for each kind
    given = node.arguments
    operation = node.operation
    if operation == "convolution":
        if given["transposed"]:
            return (replace(node, operation="conv_transpose2d"),)
        return (_convolution(node, given["input"], tuple(given["padding"])),) if len(node.shape) == 3 else (node,)
    if operation == "conv2d":
        if not isinstance(given["padding"], str):
            return (_convolution(node, given["input"], _pair(given["padding"])),)
        return _padded_convolution(node)
    if operation in ("matmul", "mm") and isinstance(given.get("self"), Value):
        weight = given.get("other", given.get("mat2"))
        if isinstance(weight, torch.Tensor) and weight.dim() == 2:
            return (_linear(node, given["self"], weight.t(), None),)
    if operation == "addmm" and isinstance(given["mat1"], Value) and isinstance(given["mat2"], torch.Tensor):
        bias = given["self"]
        if isinstance(bias, torch.Tensor) and bias.dim() == 1 and given["beta"] == 1 and given["alpha"] == 1:
            return (_linear(node, given["mat1"], given["mat2"].t(), bias),)
    if operation == "glu":
        return _gate(node)
    if operation == "einsum":
        return _contraction(node)
    if operation == "clamp_min":
        return (replace(node, operation="clamp", target=_clamp, arguments=_limits(given["self"], given["min"], None)),)
    if operation == "clamp_max":
        return (replace(node, operation="clamp", target=_clamp, arguments=_limits(given["self"], None, given["max"])),)
    if operation in ("max", "min") and "other" in given:
        return (replace(node, operation=f"{operation}imum"),)
    if operation in ("hardtanh", "relu6"):
        limits = _limits(given["self"], given.get("min_val", 0), given.get("max_val", 6))
        return (replace(node, operation="clamp", target=_clamp, arguments=limits),)
    return (replace(node, operation=_SPELLINGS.get(operation, operation)),)


def _gate(node: Node) -> tuple[Node, ...]:
    """Write out a gated linear unit: of two halves the first times the sigmoid of the second."""
    given, axis = node.arguments, int(node.arguments["dim"]) % (len(node.shape) + 1)
    if axis == 0:
        return (node,)
    half = node.shape[axis - 1]
    parts = [
        replace(
            node,
            name=f"{node.name}_{name}",
            operation="slice",
            target=torch.ops.aten.slice.Tensor,
            arguments={"self": given["self"], "dim": axis, "start": start, "end": start + half, "step": 1},
        )
        for name, start in (("signal", 0), ("squashed", half))
    ]
    signal, squashed = (Value(part.name) for part in parts)
    gate = replace(
        node,
        name=f"{node.name}_gate",
        operation="sigmoid",
        target=torch.ops.aten.sigmoid.default,
        arguments={"self": squashed},
    )
    product = {"self": signal, "other": Value(gate.name)}
    return (*parts, gate, replace(node, operation="mul", target=torch.ops.aten.mul.Tensor, arguments=product))


def _contraction(node: Node) -> tuple[Node, ...]:
    """Write out an einsum of a value and a constant matrix, summed over one axis, as a linear layer."""
    equation = "".join(str(node.arguments["equation"]).split())
    left, _, made = equation.partition("->")
    labels, tensors = left.split(","), node.arguments["tensors"]
    places = [place for place, part in enumerate(tensors) if isinstance(part, Value)]
    if len(tensors) != 2 or len(places) != 1 or not re.fullmatch(r"[A-Za-z]+,[A-Za-z]+->[A-Za-z]+", equation):
        return (node,)
    (place,) = places
    own, matrix, weight = labels[place], labels[1 - place], tensors[1 - place]
    summed, new = set(own) & set(matrix), set(matrix) - set(own)
    once = all(len(set(part)) == len(part) for part in (own, matrix, made))
    fits = len(matrix) == 2 and len(summed) == len(new) == 1 and set(made) == set(own) - summed | new
    if not (once and fits and own[0] == made[0] and own[0] not in matrix):
        return (node,)
    (before,), (behind,) = summed, new
    rest = own.replace(before, "")
    sizes = dict(zip(made[1:], node.shape, strict=True))
    moved = replace(
        node,
        name=f"{node.name}_last",
        operation="permute",
        target=torch.ops.aten.permute.default,
        arguments={"self": tensors[place], "dims": tuple(own.index(label) for label in rest + before)},
        shape=(*(sizes[label] for label in rest[1:]), weight.shape[matrix.index(before)]),
    )
    oriented = weight if matrix == behind + before else weight.t()
    inner = replace(node, name=f"{node.name}_linear", shape=tuple(sizes[label] for label in (rest + behind)[1:]))
    back = {"self": Value(inner.name), "dims": tuple((rest + behind).index(label) for label in made)}
    return (
        moved,
        _linear(inner, Value(moved.name), oriented, None),
        replace(node, operation="permute", target=torch.ops.aten.permute.default, arguments=back),
    )


def _clamp(self: torch.Tensor, min: float | None, max: float | None) -> torch.Tensor:  # noqa: A002 - as ATen names them
    return torch.clamp(self, min, max)


def _limits(value: Argument, lowest: Argument, highest: Argument) -> dict[str, Argument]:
    return {"self": value, "min": lowest, "max": highest}


def _pair(value: Argument) -> tuple[int, int]:
    return (value[0], value[-1]) if isinstance(value, tuple) else (int(value), int(value))


def _convolution(node: Node, source: Argument, padding: tuple[int, ...]) -> Node:
    given = node.arguments
    arguments = {
        "input": source,
        "weight": given["weight"],
        "bias": given["bias"],
        "stride": _pair(given["stride"]),
        "padding": _pair(padding),
        "dilation": _pair(given["dilation"]),
        "groups": int(given["groups"]),
    }
    return replace(node, operation="conv2d", target=torch.ops.aten.conv2d.default, arguments=arguments)


def _padded_convolution(node: Node) -> tuple[Node, ...]:
    """Write out a padding given as a word; where it is not symmetric, as a padding of its own.

    The convolution is told in ``around`` what of its input it padded itself: (left, right, top, bottom).
    """
    given = node.arguments
    weight = given["weight"]
    if given["padding"] == "valid" or not isinstance(weight, torch.Tensor):
        return (_convolution(node, given["input"], (0, 0)),)
    reach = [d * (k - 1) for d, k in zip(_pair(given["dilation"]), weight.shape[2:], strict=True)]
    if not any(size % 2 for size in reach):
        return (_convolution(node, given["input"], (reach[0] // 2, reach[1] // 2)),)
    stride = _pair(given["stride"])
    size = [(n - 1) * s + 1 + r for n, s, r in zip(node.shape[1:], stride, reach, strict=True)]
    around = (reach[1] // 2, reach[1] - reach[1] // 2, reach[0] // 2, reach[0] - reach[0] // 2)
    padded = Node(
        f"{node.name}_padded",
        "pad",
        torch.ops.aten.pad.default,
        {"self": given["input"], "pad": around, "mode": "constant", "value": None},
        (int(weight.shape[1]) * int(given["groups"]), *size),
        node.batched,
        node.calls,
        node.source,
    )
    made = _convolution(node, Value(padded.name), (0, 0))
    return padded, replace(made, arguments={**made.arguments, "around": around})


def _linear(node: Node, source: Value, weight: torch.Tensor, bias: torch.Tensor | None) -> Node:
    arguments = {"input": source, "weight": weight.contiguous(), "bias": bias}
    return replace(node, operation="linear", target=torch.ops.aten.linear.default, arguments=arguments)


# --- identities -----------------------------------------------------------------------------------------------------


def rename(argument: Argument, names: Mapping[str, str]) -> Argument:
    """Put other values in the place of those that `names` knows."""
    if isinstance(argument, Value):
        return Value(names.get(argument.name, argument.name))
    return tuple(rename(part, names) for part in argument) if isinstance(argument, tuple) else argument


def _renamed(node: Node, names: Mapping[str, str]) -> Node:
    return replace(node, arguments={key: rename(argument, names) for key, argument in node.arguments.items()})


def _drop_identities(graph: Graph) -> Graph:
    names: dict[str, str] = {}
    shapes = {graph.input: graph.input_shape, **{node.name: node.shape for node in graph.nodes if node.batched}}
    nodes = []
    for node in graph.nodes:
        found = _renamed(node, names)
        source = _identity_of(found) or _copied(found, shapes)
        if source:
            names[node.name] = source
        else:
            nodes.append(found)
    output = names.get(graph.output, graph.output)
    return replace(graph, nodes=tuple(nodes), output=output, aliases={**graph.aliases, **names})


def _copied(node: Node, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the value that an assignment puts in the place of another of its shape; empty where it is none."""
    source = node.arguments.get("src") if node.operation == "copy" else None
    return source.name if isinstance(source, Value) and shapes.get(source.name) == node.shape else ""


def _identity_of(node: Node) -> str:
    """Return the value that a node hands on unchanged; empty where it does something."""
    given = node.arguments
    source = given.get("self", given.get("input"))
    if not isinstance(source, Value):
        return ""
    if node.operation in _IDENTITIES:
        return source.name
    if node.operation in _CASTS:
        wanted = given.get("dtype", given.get("other"))
        is_float = wanted is None or (isinstance(wanted, torch.dtype) and wanted.is_floating_point)
        return source.name if is_float or isinstance(wanted, Value) else ""
    if node.operation == "slice" and (given["start"] in (None, 0)) and given["step"] == 1:
        return source.name if isinstance(given["end"], int) and given["end"] >= 2**31 else ""
    if node.operation in ("mul", "div") and isinstance(given["other"], int | float) and given["other"] == 1:
        return source.name
    return ""


# --- norms ----------------------------------------------------------------------------------------------------------


def _merge_norms(graph: Graph) -> Graph:
    made: dict[str, Node] = {}
    nodes = []
    for node in graph.nodes:
        merged = _merged(node, made, graph)
        made[node.name] = merged
        nodes.append(merged)
    whole = replace(graph, nodes=tuple(nodes))
    kept = drop_unread(whole)
    left = {node.name for node in kept.nodes}
    aliases = dict(graph.aliases)
    for node in kept.nodes:
        for name in node.merged:
            if name not in left:
                aliases.setdefault(name, node.name)
    return replace(kept, aliases=aliases)


def _merged(node: Node, made: Mapping[str, Node], graph: Graph) -> Node:
    """Merge a node into the convolution or linear layer that feeds it through affine maps; itself where none does."""
    scale = shift = torch.zeros(1, dtype=torch.float64)
    chain: list[str] = []
    at, first = node, True
    while at.operation not in LINEAR:
        source = next(iter(at.inputs), "")
        feeding = _feeding(source, made)
        if feeding is None:
            return node
        axis, n_channels = (1, feeding.shape[0]) if len(feeding.shape) == 3 else (1, feeding.shape[-1])
        found = read_affine(at, axis, n_channels, len(feeding.shape) + 1)
        if found is None or found.source != source or (first and not found.shifts) or source == graph.input:
            return node
        scale, shift = (found.scale, found.shift) if first else (found.scale * scale, found.shift * scale + shift)
        if at is not node:
            chain.append(at.name)
        at, first = made[source], False
    if at is node:
        return node
    return _scaled(node, at, scale, shift, chain)


def _feeding(source: str, made: Mapping[str, Node]) -> Node | None:
    """Find the convolution or linear layer behind a chain of values that may be affine maps of it."""
    at = made.get(source)
    while at is not None and at.operation not in LINEAR:
        if at.operation not in ("batch_norm", "mul", "div", "add", "sub", "neg", "rsub") or len(set(at.inputs)) != 1:
            return None
        at = made.get(at.inputs[0])
    if at is None or not isinstance(at.arguments["weight"], torch.Tensor):
        return None
    return at if len(at.shape) == (3 if at.operation == "conv2d" else 1) else None


def _scaled(node: Node, linear: Node, scale: torch.Tensor, shift: torch.Tensor, chain: list[str]) -> Node:
    weight, bias = linear.arguments["weight"], linear.arguments["bias"]
    n_outputs, dtype = len(weight), weight.dtype
    scale, shift = (part.to(weight.device).expand(n_outputs) for part in (scale, shift))
    old = torch.zeros_like(scale) if bias is None else bias.double()
    arguments = {
        **linear.arguments,
        "weight": (weight.double() * scale.view(-1, *[1] * (weight.dim() - 1))).to(dtype),
        "bias": (old * scale + shift).to(dtype),
    }
    merged = (*linear.merged, *([] if linear.merged else [linear.name]), *chain)
    if linear.merged:
        merged = (*linear.merged, linear.name, *chain)
    return replace(linear, name=node.name, arguments=arguments, merged=merged, shape=node.shape)
