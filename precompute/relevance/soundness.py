"""Whether the reference engine treats a model correctly: every operation must have a rule, or pass relevance as is.

Owns the list of what is treated; refuses everything else with the reason. Must not know data or files.

zennit attaches its rules to modules. What a `forward` computes between modules (a residual `+`, a product of an
attention gate, a functional pooling) gets the plain gradient instead, and the relevances come out wrong without a
sign of it. So the model is traced, and every step is held against what is known to be right.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import fx, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from precompute.errors import UnsupportedModel

LINEAR = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
TREATED = (
    *(nn.ReLU, nn.Dropout, nn.Dropout2d, nn.Flatten, nn.Identity),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
)
"""Modules that the composites have a rule for, or whose plain gradient is the rule."""

RESIDUAL_BLOCKS = (BasicBlock, Bottleneck)
"""Blocks whose sum zennit's canonizers replace by a module with a rule."""

ROUTING: tuple[Callable[..., object] | str, ...] = (
    *(torch.cat, torch.flatten, torch.squeeze, torch.reshape, operator.getitem, getattr, F.relu, F.dropout),
    *("size", "view", "flatten", "reshape", "squeeze", "contiguous"),
)
"""Operations outside modules that only move relevance, and ReLU, whose gradient passes it where it is not zero."""


class _Tracer(fx.Tracer):
    """Stops at modules with a rule and at residual blocks."""

    def is_leaf_module(self, module: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(module, RESIDUAL_BLOCKS) or super().is_leaf_module(module, module_qualified_name)


def check_sound(module: nn.Module, name: str) -> None:
    """Refuse a model for which the reference engine's relevances would be wrong.

    Parameters
    ----------
    module : nn.Module
        In eval mode.
    name : str
        For the message.

    Raises
    ------
    UnsupportedModel
        Names the operation and where it stands.
    """
    if module._forward_hooks:
        raise UnsupportedModel(f"the model {name} ends in a hook (binary or picked outputs), which has no rule yet")
    try:
        graph = _Tracer().trace(module)
    except Exception as error:  # tracing runs the model's own code, which may fail in any way
        raise UnsupportedModel(
            f"the model {name} cannot be traced ({error}), so it cannot be checked that every operation has a "
            "relevance rule. Take a model without data-dependent control flow"
        ) from error
    modules = dict(module.named_modules())
    for node in graph.nodes:
        reason = _refuse(node, modules)
        if reason:
            raise UnsupportedModel(
                f"the model {name} cannot be explained correctly: {reason}. The engines treat convolutions and linear "
                "layers (with BatchNorm directly behind them), ReLU, max and average pooling, dropout, flatten, "
                "concatenation and torchvision's ResNet blocks"
            )


def _refuse(node: fx.Node, modules: dict[str, nn.Module]) -> str:
    if node.op == "call_module":
        return _refuse_module(node, modules)
    if node.op in ("call_function", "call_method") and node.target not in ROUTING:
        label = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        return f"its forward computes {label!r} outside a module ({node.name}), for which there is no relevance rule"
    return ""


def _refuse_module(node: fx.Node, modules: dict[str, nn.Module]) -> str:
    module = modules[str(node.target)]
    kind = type(module).__name__
    if isinstance(module, NORMS):
        behind = node.args[0]
        source = modules.get(str(behind.target)) if isinstance(behind, fx.Node) else None
        if not isinstance(source, LINEAR):
            return f"module {node.target} is a {kind} that does not directly follow a convolution or linear layer"
        return ""
    if isinstance(module, (*LINEAR, *TREATED, *RESIDUAL_BLOCKS)):
        return ""
    return f"module {node.target} is a {kind}, for which there is no relevance rule"
