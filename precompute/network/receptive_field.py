"""From a neuron to the input region that can affect it.

Owns the derivation of receptive fields from a recorded forward pass and the box of one neuron. Must not know
models by name: it reads the operations that autograd recorded, so that branches and functional code count too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import torch

from precompute.atlas.records import Box, ReceptiveField

Node: TypeAlias = Any
"""A recorded operation; what autograd saves with it is not in the type that torch declares."""

_POINTWISE = frozenset(
    f"{name}Backward"
    for name in (
        *(
            "Relu",
            "LeakyRelu",
            "Elu",
            "Silu",
            "Gelu",
            "Hardtanh",
            "Hardswish",
            "Hardsigmoid",
            "Sigmoid",
            "Tanh",
            "Mish",
        ),
        *("Clamp", "ClampMin", "Threshold", "Softplus", "NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm"),
        *("NativeDropout", "Dropout", "Clone", "ToCopy", "Alias", "Contiguous", "Neg", "Exp", "Pow", "Sqrt"),
    )
)
_JOINS = frozenset(f"{name}Backward" for name in ("Add", "Sub", "Mul", "Div", "Cat", "Maximum", "Minimum"))
_WINDOWS = frozenset(f"{name}Backward" for name in ("Convolution", "MaxPool2DWithIndices", "AvgPool2D"))


def trace(images: torch.Tensor, outputs: dict[str, torch.Tensor]) -> dict[str, ReceptiveField | None]:
    """Derive the receptive field of each recorded output.

    Parameters
    ----------
    images : (n, 3, height, width) float tensor
        A leaf that requires grad; the outputs were computed from it.
    outputs : dict of str to tensor
        (n, n_channels, height, width) outputs by layer name.

    Returns
    -------
    dict of str to ReceptiveField or None
        None where the whole input can affect a neuron or an operation has no known window.
    """
    fields: dict[Node, ReceptiveField | None] = {}
    found: dict[str, ReceptiveField | None] = {}
    for name, output in outputs.items():
        for node in _inputs_first(output.grad_fn, fields):
            fields[node] = _field_of(node, fields, images)
        found[name] = fields.get(output.grad_fn) if output.ndim == 4 else None
    return found


def box(field: ReceptiveField | None, neuron: int, width: int, input_height: int, input_width: int) -> Box:
    """Compute the input region of one neuron, clipped to the input.

    Parameters
    ----------
    field : ReceptiveField or None
        None gives the whole input.
    neuron : int
        Flat index h * width + w.
    width : int
        Neurons in a row of the layer's output.
    input_height, input_width : int
        Pixels.

    Returns
    -------
    Box
    """
    if field is None:
        return Box(0, 0, input_height, input_width)
    row, column = divmod(neuron, width)
    top, left = (field.start + position * field.stride for position in (row, column))
    return Box(
        top=min(max(top, 0), input_height - 1),
        left=min(max(left, 0), input_width - 1),
        bottom=max(min(top + field.size, input_height), 1),
        right=max(min(left + field.size, input_width), 1),
    )


def _inputs_first(node: Node, done: dict[Node, ReceptiveField | None]) -> Iterator[Any]:
    """Walk the recorded operations below `node`, each after its inputs, without those already done."""
    stack = [(node, False)]
    while stack:
        node, expanded = stack.pop()
        if node is None or node in done:
            continue
        if expanded:
            yield node
        else:
            stack.append((node, True))
            stack += [(lower, False) for lower, _ in node.next_functions]


def _field_of(node: Node, fields: dict[Node, ReceptiveField | None], images: torch.Tensor) -> ReceptiveField | None:
    name = node.name().rstrip("0123456789")
    if name == "torch::autograd::AccumulateGrad":
        return ReceptiveField(size=1, stride=1, start=0) if node.variable is images else None
    # Weights are leaves as well (or not recorded at all); only what comes from the image widens a field.
    lower = [node_ for node_, _ in node.next_functions if node_ is not None and _from_images(node_, images)]
    below = [fields[node_] for node_ in lower]
    known = [field for field in below if field is not None]
    if not known or len(known) < len(below):
        return None
    if name in _POINTWISE:
        return known[0]
    if name in _JOINS:
        return _union(known)
    if name in _WINDOWS:
        return _widened(known[0], node)
    return None


def _from_images(node: Node, images: torch.Tensor) -> bool:
    """Tell whether an operation is more than a parameter of the model."""
    return not (node.name() == "torch::autograd::AccumulateGrad" and node.variable is not images)


def _union(fields: list[ReceptiveField]) -> ReceptiveField | None:
    """Join the fields of branches; None where their strides differ, because then no one rule gives the position."""
    if len({field.stride for field in fields}) != 1:
        return None
    start = min(field.start for field in fields)
    end = max(field.start + field.size for field in fields)
    return ReceptiveField(size=end - start, stride=fields[0].stride, start=start)


def _widened(field: ReceptiveField, node: Node) -> ReceptiveField | None:
    """Send a field through a convolution or pooling; of an oblong kernel the bounding square counts."""
    if getattr(node, "_saved_transposed", False):
        return None
    if node.name().startswith("Convolution"):
        kernel = tuple(node._saved_weight.shape[2:])
    else:
        kernel = _pair(node._saved_kernel_size)
    stride = _pair(node._saved_stride or kernel)
    padding = _pair(node._saved_padding)
    dilation = _pair(getattr(node, "_saved_dilation", 1))
    if len(kernel) != 2 or stride[0] != stride[1]:
        return None
    axes = range(2)
    start = min(-padding[axis] for axis in axes)
    end = max((kernel[axis] - 1) * dilation[axis] - padding[axis] for axis in axes)
    return ReceptiveField(
        size=field.size + (end - start) * field.stride,
        stride=field.stride * stride[0],
        start=field.start + start * field.stride,
    )


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    values = tuple(int(item) for item in value)
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])
