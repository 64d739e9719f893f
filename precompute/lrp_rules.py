"""The relevance rules as direct passes: each step of a chain knows its forward pass and its own backward pass.

Owns the formulas of the composites EpsilonPlusFlat and EpsilonPlus and the tensors that they keep. Must not know which
layers are asked for, batches of requests or files.

A rule's `backward` takes what `keep` returned for a batch of n images and relevance for m rows; where n is 1, all rows
belong to that image and share the modified forward pass. It may overwrite the relevance handed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from . import chain
from .chain import Pair
from .config import RelevanceConfig

EPSILON = 1e-6
"""Of the stabiliser and of the Epsilon rule."""


def stabilise(values: torch.Tensor) -> torch.Tensor:
    """Shift values away from 0 by epsilon, in the direction of their sign; 0 counts as positive."""
    return torch.where(values < 0, values - EPSILON, values + EPSILON)


class Rule:
    """A step that passes relevance through unchanged.

    Attributes
    ----------
    name : str
        The module's dotted path.
    in_place : bool
        Whether `forward` may overwrite its input, set by `build_rules`.
    """

    in_place = False

    def __init__(self, name: str) -> None:
        self.name = name

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Compute the step's output."""
        return values

    def keep(self, values: torch.Tensor, output: torch.Tensor) -> Any:
        """Return what `backward` needs of the forward pass."""
        return None

    def backward(self, kept: Any, relevance: torch.Tensor) -> torch.Tensor:
        """Return the relevance of the input from that of the output."""
        return relevance


class RectifierRule(Rule):
    """ReLU: relevance passes."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Compute max(x, 0)."""
        return values.relu_() if self.in_place else values.relu()


class ScalingRule(Rule):
    """The remainder of a merged BatchNorm: its plain gradient."""

    def __init__(self, step: chain.Scaling) -> None:
        super().__init__(step.name)
        self.factor = step.factor

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Multiply by the factor."""
        return values.mul_(self.factor) if self.in_place else values * self.factor

    def backward(self, kept: Any, relevance: torch.Tensor) -> torch.Tensor:
        """Multiply by the factor."""
        return relevance.mul_(self.factor)


class FlatteningRule(Rule):
    """Flatten: relevance takes its old shape again."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Flatten all but the batch axis."""
        return values.flatten(1)

    def keep(self, values: torch.Tensor, output: torch.Tensor) -> torch.Size:
        """Keep the shape."""
        return values.shape[1:]

    def backward(self, kept: torch.Size, relevance: torch.Tensor) -> torch.Tensor:
        """Restore the shape."""
        values = relevance.unflatten(1, kept)
        return values.contiguous(memory_format=torch.channels_last) if values.dim() == 4 else values


class MaxPoolingRule(Rule):
    """Max pooling: the winner takes all, the same winner as in the plain gradient."""

    def __init__(self, step: chain.MaxPooling) -> None:
        super().__init__(step.name)
        self.kernel, self.stride, self.padding, self.dilation = step.kernel, step.stride, step.padding, step.dilation
        self.ceil_mode = step.ceil_mode
        self._winners: torch.Tensor | None = None

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Compute the maxima, remembering the winners until `keep` is called."""
        output, self._winners = F.max_pool2d_with_indices(
            values, self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode
        )
        return output

    def keep(self, values: torch.Tensor, output: torch.Tensor) -> tuple[torch.Size, torch.Tensor]:
        """Keep the shape and the winners' positions."""
        winners, self._winners = self._winners, None
        assert winners is not None, "keep follows forward"
        return values.shape[1:], winners

    def backward(self, kept: tuple[torch.Size, torch.Tensor], relevance: torch.Tensor) -> torch.Tensor:
        """Hand each output's relevance to its winner."""
        shape, winners = kept
        n_rows = len(relevance)
        like = relevance.new_empty((n_rows, *shape)).contiguous(memory_format=torch.channels_last)
        return torch.ops.aten.max_pool2d_with_indices_backward(  # type: ignore[no-any-return]
            relevance.contiguous(memory_format=torch.channels_last),
            like,
            self.kernel,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            winners.expand(n_rows, *winners.shape[1:]).contiguous(memory_format=torch.channels_last),
        )


class AveragePoolingRule(Rule):
    """Average pooling, plain or adaptive: the Norm rule."""

    def __init__(self, step: chain.AveragePooling) -> None:
        super().__init__(step.name)
        self.step = step

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Compute the averages."""
        output = chain.average_pool(self.step, values)
        return output.clone() if output is values else output

    def keep(self, values: torch.Tensor, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep the input and the stabilised output."""
        return values, stabilise(output)

    def backward(self, kept: tuple[torch.Tensor, torch.Tensor], relevance: torch.Tensor) -> torch.Tensor:
        """Share each output's relevance out in proportion to its inputs."""
        values, stabilised = kept
        share = relevance / stabilised
        like = values.expand(len(share), *values.shape[1:])
        return self._transposed(share, like) * values

    def _transposed(self, share: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        step = self.step
        spread: torch.Tensor
        if step.output_size is None:
            spread = torch.ops.aten.avg_pool2d_backward(
                share,
                like,
                step.kernel,
                step.stride,
                step.padding,
                step.ceil_mode,
                step.count_include_pad,
                step.divisor,
            )
        elif share.shape == like.shape:
            spread = share
        elif share.shape[2:] == (1, 1):
            spread = (share / (like.shape[2] * like.shape[3])).expand_as(like)
        else:
            spread = torch.ops.aten._adaptive_avg_pool2d_backward(share, like)
        return spread


class EpsilonRule(Rule):
    """A linear layer: the Epsilon rule."""

    def __init__(self, step: chain.Dense, *, zero_params: bool) -> None:
        super().__init__(step.name)
        self.weight, self.bias, self.zero_params = step.weight, step.bias, zero_params

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Compute W x + b."""
        return F.linear(values, self.weight, self.bias)

    def keep(self, values: torch.Tensor, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep the input and the stabilised output."""
        return values, stabilise(F.linear(values, self.weight) if self.zero_params else output)

    def backward(self, kept: tuple[torch.Tensor, torch.Tensor], relevance: torch.Tensor) -> torch.Tensor:
        """Compute x * ((R / stab(z)) W)."""
        values, stabilised = kept
        return (relevance / stabilised).mm(self.weight).mul_(values)


class FlatDenseRule(EpsilonRule):
    """A linear layer that comes first: the Flat rule."""

    def keep(self, values: torch.Tensor, output: torch.Tensor) -> Any:
        """Keep nothing."""
        return None

    def backward(self, kept: Any, relevance: torch.Tensor) -> torch.Tensor:
        """Share all relevance out evenly."""
        n_inputs = self.weight.shape[1]
        return (relevance.sum(1, keepdim=True) / (n_inputs + EPSILON)).expand(-1, n_inputs)


class ConvolutionRule(Rule):
    """A convolution: geometry and forward pass, shared by its rules.

    Attributes
    ----------
    padded : bool
        False where the input already holds its surroundings, as a window cut out of a frame does.
    """

    def __init__(self, step: chain.Convolution) -> None:
        super().__init__(step.name)
        self.weight, self.bias = step.weight, step.bias
        self.stride, self.padding, self.dilation, self.groups = step.stride, step.padding, step.dilation, step.groups
        self.kernel: Pair = (int(step.weight.shape[2]), int(step.weight.shape[3]))

    def convolve(
        self, values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *, padded: bool = True
    ) -> torch.Tensor:
        """Convolve with another weight of the same shape."""
        padding = self.padding if padded else (0, 0)
        return F.conv2d(values, weight, bias, self.stride, padding, self.dilation, self.groups)

    def spread(
        self, share: torch.Tensor, weight: torch.Tensor, size: Sequence[int], *, groups: int = 0, padded: bool = True
    ) -> torch.Tensor:
        """Convolve transposed, back to an input of the given height and width."""
        padding = self.padding if padded else (0, 0)
        geometry = zip(size, share.shape[2:], self.stride, padding, self.dilation, self.kernel, strict=True)
        extra = tuple(n - ((m - 1) * s - 2 * p + d * (k - 1) + 1) for n, m, s, p, d, k in geometry)
        return F.conv_transpose2d(
            share, weight, None, self.stride, padding, extra, groups or self.groups, self.dilation
        )

    def forward(self, values: torch.Tensor, *, padded: bool = True) -> torch.Tensor:
        """Compute W * x + b."""
        return self.convolve(values, self.weight, self.bias, padded=padded)

    def keep(self, values: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """Keep the input."""
        return values


class ZPlusRule(ConvolutionRule):
    """A convolution: the ZPlus rule.

    The half for negative inputs is left out where the input cannot be negative: there it is exactly zero.
    """

    def __init__(self, step: chain.Convolution, *, zero_params: bool, input_nonnegative: bool) -> None:
        super().__init__(step)
        self.input_nonnegative = input_nonnegative
        layout = torch.channels_last
        self.positive = step.weight.clamp(min=0).contiguous(memory_format=layout)
        bias = torch.zeros_like(step.bias) if zero_params else step.bias.clamp(min=0)
        # z is a sum of terms >= 0, so stabilising only ever adds epsilon: it goes in with the bias, for free
        self.stabilised_bias = bias + EPSILON
        if not input_nonnegative:
            self.negative = step.weight.clamp(max=0).contiguous(memory_format=layout)

    def backward(self, kept: torch.Tensor, relevance: torch.Tensor, *, padded: bool = True) -> torch.Tensor:
        """Compute x+ * convT(R / z, W+) + x- * convT(R / z, W-)."""
        if self.input_nonnegative:
            total = self.convolve(kept, self.positive, self.stabilised_bias, padded=padded)
            relevance.div_(total)
            del total
            return self.spread(relevance, self.positive, kept.shape[2:], padded=padded).mul_(kept)
        above, below = kept.clamp(min=0), kept.clamp(max=0)
        total = self.convolve(above, self.positive, self.stabilised_bias, padded=padded)
        total += self.convolve(below, self.negative, None, padded=padded)
        relevance.div_(total)
        result = self.spread(relevance, self.positive, kept.shape[2:], padded=padded).mul_(above)
        return result.add_(self.spread(relevance, self.negative, kept.shape[2:], padded=padded).mul_(below))


class FlatRule(ConvolutionRule):
    """A convolution that comes first: the Flat rule."""

    def keep(self, values: torch.Tensor, output: torch.Tensor) -> Any:
        """Keep the shape."""
        return values.shape[1:]

    def backward(self, kept: torch.Size, relevance: torch.Tensor) -> torch.Tensor:
        """Share each output's relevance out evenly over the inputs in bounds."""
        by_group = relevance.unflatten(1, (self.groups, -1)).sum(2)
        return self.spread_evenly(kept, by_group).repeat_interleave(kept[0] // self.groups, dim=1)

    def spread_evenly(self, shape: Sequence[int], by_group: torch.Tensor) -> torch.Tensor:
        """Spread (m, groups, h, w) relevance over an input of `shape`; returns (m, groups, height, width)."""
        ones = by_group.new_ones((self.groups, 1, *self.kernel))
        frame = by_group.new_ones((1, 1, *shape[1:]))
        n_taps = F.conv2d(frame, ones[:1], None, self.stride, self.padding, self.dilation)
        n_inputs = n_taps * (shape[0] // self.groups)
        return self.spread(by_group / (n_inputs + EPSILON), ones, shape[1:], groups=self.groups)


def build_rules(
    steps: Sequence[chain.Step], config: RelevanceConfig, device: torch.device, dtype: torch.dtype
) -> tuple[Rule, ...]:
    """Choose the rule of every step, with weights on the device and in the precision of the computation."""
    rules: list[Rule] = []
    first, nonnegative, owned = True, False, False
    for step in steps:
        rule = _rule(_moved(step, device, dtype), config, first=first, input_nonnegative=nonnegative)
        linear = isinstance(step, chain.Convolution | chain.Dense)
        # overwriting is safe only where nobody else holds the values: linear steps keep their input, not their output
        rule.in_place = owned and isinstance(step, chain.Rectifier | chain.Scaling)
        owned = linear or rule.in_place
        nonnegative = isinstance(step, chain.Rectifier) or (nonnegative and not linear)
        first = first and not linear
        rules.append(rule)
    return tuple(rules)


def _moved(step: chain.Step, device: torch.device, dtype: torch.dtype) -> chain.Step:
    if not isinstance(step, chain.Convolution | chain.Dense):
        return step
    weight, bias = (values.to(device=device, dtype=dtype) for values in (step.weight, step.bias))
    if isinstance(step, chain.Dense):
        return chain.Dense(step.name, weight, bias)
    weight = weight.contiguous(memory_format=torch.channels_last)
    return chain.Convolution(step.name, weight, bias, step.stride, step.padding, step.dilation, step.groups)


def _rule(step: chain.Step, config: RelevanceConfig, *, first: bool, input_nonnegative: bool) -> Rule:
    flat = first and config.composite == "EpsilonPlusFlat"
    match step:
        case chain.Convolution():
            if flat:
                return FlatRule(step)
            return ZPlusRule(step, zero_params=config.zero_params, input_nonnegative=input_nonnegative)
        case chain.Dense():
            return (FlatDenseRule if flat else EpsilonRule)(step, zero_params=config.zero_params)
        case chain.Rectifier():
            return RectifierRule(step.name)
        case chain.Scaling():
            return ScalingRule(step)
        case chain.MaxPooling():
            return MaxPoolingRule(step)
        case chain.AveragePooling():
            return AveragePoolingRule(step)
        case _:
            return FlatteningRule(step.name)
