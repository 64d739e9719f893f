"""The composites EpsilonPlusFlat and EpsilonPlus: which step of a chain gets which rule.

Owns the assignment, the precision of the weights, and what may run in place. Must not know the rules' formulas.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from precompute.config import RelevanceConfig
from precompute.network import steps as chain

from .rules import (
    AveragePoolingRule,
    EpsilonRule,
    FlatDenseRule,
    FlatRule,
    FlatteningRule,
    MaxPoolingRule,
    RectifierRule,
    Rule,
    ScalingRule,
    ZPlusRule,
)


def build_rules(
    steps: Sequence[chain.Step], config: RelevanceConfig, device: torch.device, dtype: torch.dtype
) -> tuple[Rule, ...]:
    """Choose the rule of every step, with weights on the device and in the precision of the computation."""
    rules: list[Rule] = []
    first, nonnegative, owned = True, False, False
    for step in steps:
        rule = build_rule(step, config, device, dtype, first=first, input_nonnegative=nonnegative)
        linear = isinstance(step, chain.Convolution | chain.Dense)
        # overwriting is safe only where nobody else holds the values: linear steps keep their input, not their output
        rule.in_place = owned and isinstance(step, chain.Rectifier | chain.Scaling)
        owned = linear or rule.in_place
        nonnegative = isinstance(step, chain.Rectifier) or (nonnegative and not linear)
        first = first and not linear
        rules.append(rule)
    return tuple(rules)


def build_rule(
    step: chain.Step,
    config: RelevanceConfig,
    device: torch.device,
    dtype: torch.dtype,
    *,
    first: bool,
    input_nonnegative: bool,
) -> Rule:
    """Choose the rule of one step by itself; `first` says whether it takes the image."""
    return _rule(_moved(step, device, dtype), config, first=first, input_nonnegative=input_nonnegative)


def _moved(step: chain.Step, device: torch.device, dtype: torch.dtype) -> chain.Step:
    if not isinstance(step, chain.Convolution | chain.Dense):
        return step
    weight, bias = (values.to(device=device, dtype=dtype) for values in (step.weight, step.bias))
    if isinstance(step, chain.Dense):
        return chain.Dense(step.name, weight, bias)
    weight = weight.contiguous(memory_format=torch.channels_last)
    return chain.Convolution(step.name, weight, bias, step.stride, step.padding, step.dilation, step.groups)


def _rule(  # noqa: PLR0911 - one line for each kind
    step: chain.Step, config: RelevanceConfig, *, first: bool, input_nonnegative: bool
) -> Rule:
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
