"""A sequential convnet as a flat chain of plain steps.

Owns the reading of a module: which leaves run in which order, what links them, how BatchNorm merges into the linear
step before it, and the refusal of anything that would be explained wrongly. Must not know relevance, rules or files.

The chain is read from a run, not from the module's source: every leaf records its input and its output, and a leaf's
input has to be the very values that the leaf before it gave (flattened at most). Whatever a `forward` computes
between its leaves therefore shows as a broken link.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from precompute.errors import UnsupportedModel

Pair = tuple[int, int]

SUPPORTED = (
    "Conv2d, BatchNorm2d or BatchNorm1d directly after a convolution or linear layer, Linear, ReLU, MaxPool2d, "
    "AvgPool2d, AdaptiveAvgPool2d, Dropout, Flatten and Identity"
)


@dataclass(frozen=True)
class Step:
    """One step; `name` is the module's dotted path."""

    name: str


@dataclass(frozen=True, eq=False)
class Convolution(Step):
    """A convolution with zero padding.

    `weight` is (n_out, n_in / groups, kernel height, kernel width), `bias` (n_out,).
    """

    weight: torch.Tensor
    bias: torch.Tensor
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int


@dataclass(frozen=True, eq=False)
class Dense(Step):
    """A linear layer: weight (n_out, n_in), bias (n_out,)."""

    weight: torch.Tensor
    bias: torch.Tensor


@dataclass(frozen=True)
class Rectifier(Step):
    """A ReLU."""


@dataclass(frozen=True)
class Scaling(Step):
    """What remains of a merged BatchNorm: the reference canonizer leaves its eps in place, so 1 / sqrt(1 + eps)."""

    factor: float


@dataclass(frozen=True)
class MaxPooling(Step):
    """A max pooling."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    ceil_mode: bool


@dataclass(frozen=True)
class AveragePooling(Step):
    """An average pooling; `output_size` is set for an adaptive one, the other fields for a plain one."""

    output_size: tuple[int | None, int | None] | None = None
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor: int | None = None


@dataclass(frozen=True)
class Flattening(Step):
    """Everything but the batch axis becomes one axis, in channel, row, column order."""


@dataclass
class _Link:
    """One call of one leaf: its name, the values that went in and came out (cloned: later leaves run in place)."""

    name: str
    leaf: nn.Module
    given: torch.Tensor
    made: torch.Tensor = field(default_factory=lambda: torch.empty(0))


def qualifies(module: nn.Module, input_shape: tuple[int, int, int], layer_names: Sequence[str] = ()) -> str:
    """Say why the module is no chain of supported steps; empty where it is one.

    Parameters
    ----------
    module : Module
        Any network; it is run on one random input and never modified.
    input_shape : (channels, height, width)
    layer_names : sequence of str
        Layers that will be asked for; each has to be a convolution or a linear layer.
    """
    try:
        find_layers(flatten(module, input_shape), layer_names)
    except UnsupportedModel as reason:
        return str(reason)
    return ""


def find_layers(steps: Sequence[Step], layer_names: Sequence[str]) -> dict[str, int]:
    """Find the place in the chain of every layer asked for.

    Raises
    ------
    UnsupportedModel
        A layer is no convolution or linear layer of the chain.
    """
    positions = {step.name: place for place, step in enumerate(steps) if isinstance(step, Convolution | Dense)}
    for name in layer_names:
        if name not in positions:
            raise UnsupportedModel(
                f"layer {name} is no convolution or linear layer of the chain, which has {', '.join(positions)}; "
                'set relevance.engine = "zennit" to use it'
            )
    return {name: positions[name] for name in layer_names}


def flatten(module: nn.Module, input_shape: tuple[int, int, int]) -> tuple[Step, ...]:
    """Read a module as a chain of steps and prove it equal to the module's own forward pass.

    Weights are shared with the module where no BatchNorm is merged into them.

    Raises
    ------
    UnsupportedModel
        The module is not sequential, has an unsupported part, or computes something outside its leaves.
    """
    parameter = next(module.parameters(), None)
    if parameter is None:
        raise UnsupportedModel("the model has no parameters, so there is nothing to explain")
    if parameter.dtype not in (torch.float32, torch.float64):
        raise UnsupportedModel(f"the weights are {parameter.dtype}; load the model in float32")
    runnable = copy.deepcopy(module).eval() if any(part.training for part in module.modules()) else module
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, *input_shape, generator=generator).to(parameter)
    links, output = _trace(runnable, images)
    _check_links(links, images, output)
    _check_order(runnable, links)
    steps = tuple(_merge_batch_norm(links, images.dim()))
    if output.dim() != 2:
        raise UnsupportedModel(f"the output is {tuple(output.shape[1:])} for each image, not one value for each class")
    if links[-1].made.dim() != 2:
        steps = (*steps, Flattening("before the output"))
    _check_equal(steps, images, output)
    return steps


def run_step(step: Step, values: torch.Tensor) -> torch.Tensor:  # noqa: PLR0911 - one line for each kind
    """Compute the forward pass of one step."""
    match step:
        case Convolution():
            return F.conv2d(values, step.weight, step.bias, step.stride, step.padding, step.dilation, step.groups)
        case Dense():
            return F.linear(values, step.weight, step.bias)
        case Rectifier():
            return F.relu(values)
        case Scaling():
            return values * step.factor
        case MaxPooling():
            return F.max_pool2d(values, step.kernel, step.stride, step.padding, step.dilation, ceil_mode=step.ceil_mode)
        case AveragePooling():
            return average_pool(step, values)
        case _:
            return values.flatten(1)


def average_pool(step: AveragePooling, values: torch.Tensor) -> torch.Tensor:
    """Compute a plain or an adaptive average pooling."""
    if step.output_size is not None:
        return F.adaptive_avg_pool2d(values, step.output_size)
    return F.avg_pool2d(
        values, step.kernel, step.stride, step.padding, step.ceil_mode, step.count_include_pad, step.divisor
    )


def _trace(module: nn.Module, images: torch.Tensor) -> tuple[list[_Link], torch.Tensor]:
    """Run the module once and record every call of a leaf, in order."""
    links: list[_Link] = []
    handles = []

    def before(name: str) -> Callable[[nn.Module, tuple[object, ...]], None]:
        return lambda leaf, given: links.append(_Link(name, leaf, _only_tensor(name, given).clone()))

    def after(_leaf: nn.Module, _given: object, made: object) -> None:
        links[-1].made = _only_tensor(links[-1].name, (made,)).clone()

    try:
        for name, leaf in _leaves(module):
            handles += [leaf.register_forward_pre_hook(before(name)), leaf.register_forward_hook(after)]
        with torch.inference_mode():
            output = module(images.clone())
    except UnsupportedModel:
        raise
    except Exception as error:
        raise UnsupportedModel(f"the model does not run on {tuple(images.shape[1:])}: {error}") from error
    finally:
        for handle in handles:
            handle.remove()
    return links, _only_tensor("the model", (output,))


def _leaves(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, part in module.named_modules():
        if next(part.children(), None) is None:
            yield name, part


def _only_tensor(name: str, values: tuple[object, ...]) -> torch.Tensor:
    if len(values) == 1 and isinstance(values[0], torch.Tensor):
        return values[0]
    raise UnsupportedModel(f"{name} takes or gives something other than one tensor")


def _check_links(links: Sequence[_Link], images: torch.Tensor, output: torch.Tensor) -> None:
    """Every leaf has to take exactly what the one before it gave; inserts the flattenings found between them."""
    if not links:
        raise UnsupportedModel("no submodule ran in the forward pass")
    made, before = images, "the input"
    for link in [*links, _Link("the output", nn.Identity(), output)]:
        flat = made.flatten(1)
        if link.given.shape == flat.shape != made.shape and torch.equal(link.given, flat):
            made = flat
        if link.given.shape != made.shape or not torch.equal(link.given, made):
            raise UnsupportedModel(
                f"not sequential: {link.name} does not take exactly what {before} gives; something is computed "
                "between them or the data flow branches"
            )
        made, before = link.made, link.name


def _check_order(module: nn.Module, links: Sequence[_Link]) -> None:
    """Compare with the order of registration, which decides what counts as first and where BatchNorm merges."""
    called = list(dict.fromkeys(link.name for link in links))
    registered = [name for name, _ in _leaves(module)]
    if called != registered:
        odd = next((name for name in registered if name not in called), "")
        raise UnsupportedModel(
            f"{odd} is never used" if odd else "the submodules are not registered in the order in which they run"
        )
    weighted = [link.name for link in links if next(link.leaf.parameters(), None) is not None]
    if len(set(weighted)) != len(weighted):
        twice = next(name for name in weighted if weighted.count(name) > 1)
        raise UnsupportedModel(f"{twice} runs more than once in a forward pass, so it is not one layer")


def _check_equal(steps: Sequence[Step], images: torch.Tensor, output: torch.Tensor) -> None:
    """Run the finished chain against the module's own output: catches patched forwards and foreign hooks."""
    with torch.inference_mode():
        values = images
        for step in steps:
            values = run_step(step, values)
    n_scalings = sum(isinstance(step, Scaling) for step in steps)
    tolerance = 1e-3 if images.dtype == torch.float32 else 1e-9 + 1e-4 * n_scalings
    difference = float((values.flatten(1) - output.flatten(1)).abs().max())
    limit = tolerance * (1e-30 + float(output.abs().max()))
    if not difference <= limit:
        raise UnsupportedModel(
            f"the chain of its layers gives another output than the model itself (off by {difference:.3g}, "
            f"allowed {limit:.3g}); a hook or a patched method changes what a layer computes"
        )


def _merge_batch_norm(links: Sequence[_Link], n_dimensions: int) -> Iterator[Step]:
    """Turn links into steps; a BatchNorm directly after a linear step is merged into it."""
    pending: Convolution | Dense | None = None
    for link in links:
        n_dimensions_before, n_dimensions = n_dimensions, link.made.dim()
        if isinstance(link.leaf, nn.BatchNorm1d | nn.BatchNorm2d):
            if pending is None:
                raise UnsupportedModel(
                    f"{link.name} (BatchNorm) does not directly follow a convolution or linear layer"
                )
            yield _merged(pending, link)
            yield Scaling(link.name, (1.0 + link.leaf.eps) ** -0.5)
            pending = None
            continue
        if pending is not None:
            yield pending
            pending = None
        if link.given.dim() != n_dimensions_before:
            yield Flattening(f"before {link.name}")
        step = _step(link)
        if isinstance(step, Convolution | Dense):
            pending = step
        elif step is not None:
            yield step
    if pending is not None:
        yield pending


def _merged(step: Convolution | Dense, link: _Link) -> Convolution | Dense:
    norm: Any = link.leaf
    if type(norm) not in (nn.BatchNorm1d, nn.BatchNorm2d) or norm.running_mean is None:
        raise UnsupportedModel(f"{link.name} ({type(norm).__name__}) has no running statistics to merge")
    with torch.no_grad():
        scale = (norm.running_var + norm.eps) ** -0.5
        scale = scale if norm.weight is None else scale * norm.weight
        shift = torch.zeros_like(scale) if norm.bias is None else norm.bias
        weight = step.weight * scale.view(-1, *[1] * (step.weight.dim() - 1))
        return replace(step, weight=weight, bias=(step.bias - norm.running_mean) * scale + shift)


def _step(link: _Link) -> Step | None:  # noqa: PLR0911 - one line for each kind
    """Read one leaf as a step; None where it does nothing when explaining."""
    leaf: Any = link.leaf
    match type(leaf):
        case nn.Conv2d:
            return _convolution(link.name, leaf)
        case nn.Linear:
            _check_dimensions(link, 2)
            return Dense(link.name, leaf.weight.detach(), _bias(leaf))
        case nn.ReLU:
            return Rectifier(link.name)
        case nn.MaxPool2d:
            return _max_pooling(link.name, leaf)
        case nn.AvgPool2d | nn.AdaptiveAvgPool2d:
            return _average_pooling(link.name, leaf)
        case nn.Flatten if leaf.start_dim == 1 and leaf.end_dim == -1:
            return Flattening(link.name)
        case nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Identity:
            return None
        case kind:
            raise UnsupportedModel(f"{link.name} is a {kind.__name__}; supported are {SUPPORTED}")


def read_leaf(name: str, leaf: nn.Module) -> Step | None:
    """Read one module on its own as a step; None where it does nothing when explaining.

    Raises
    ------
    UnsupportedModel
        It is no supported step, or a BatchNorm.
    """
    n_dimensions = 2 if isinstance(leaf, nn.Linear) else 4
    return _step(_Link(name, leaf, torch.empty([0] * n_dimensions)))


def _convolution(name: str, leaf: nn.Conv2d) -> Convolution:
    if leaf.padding_mode != "zeros":
        raise UnsupportedModel(f"{name} pads by {leaf.padding_mode!r}; only 'zeros' is supported")
    dilation, kernel = _pair(leaf.dilation), _pair(leaf.kernel_size)
    if leaf.padding == "same":
        reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        if any(r % 2 for r in reach):
            raise UnsupportedModel(f"{name} pads 'same' with an even kernel, which is not symmetric")
        padding = (reach[0] // 2, reach[1] // 2)
    else:
        padding = (0, 0) if isinstance(leaf.padding, str) else _pair(leaf.padding)
    weight = leaf.weight.detach()
    return Convolution(name, weight, _bias(leaf), _pair(leaf.stride), padding, dilation, leaf.groups)


def _max_pooling(name: str, leaf: nn.MaxPool2d) -> MaxPooling:
    kernel, stride, padding = _pair(leaf.kernel_size), _pair(leaf.stride), _pair(leaf.padding)
    return MaxPooling(name, kernel, stride, padding, _pair(leaf.dilation), leaf.ceil_mode)


def _average_pooling(name: str, leaf: nn.AvgPool2d | nn.AdaptiveAvgPool2d) -> AveragePooling:
    if isinstance(leaf, nn.AdaptiveAvgPool2d):
        size: Any = leaf.output_size
        return AveragePooling(name, (size, size) if size is None or isinstance(size, int) else tuple(size))
    kernel, stride, padding = _pair(leaf.kernel_size), _pair(leaf.stride), _pair(leaf.padding)
    return AveragePooling(
        name, None, kernel, stride, padding, leaf.ceil_mode, leaf.count_include_pad, leaf.divisor_override
    )


def _bias(leaf: nn.Conv2d | nn.Linear) -> torch.Tensor:
    return leaf.weight.new_zeros(len(leaf.weight)) if leaf.bias is None else leaf.bias.detach()


def _check_dimensions(link: _Link, n_dimensions: int) -> None:
    if link.given.dim() != n_dimensions:
        raise UnsupportedModel(
            f"{link.name} takes a tensor of {link.given.dim()} dimensions, not {n_dimensions}; flatten before it"
        )


def _pair(value: int | Sequence[int]) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
