"""What layers a model has, what they look like, and which of them a pattern selects.

Owns the recorded forward pass over convolutions and linear layers and the graph between them. Must not know
weights, data or files.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from precompute.atlas.records import LayerInfo
from precompute.errors import ModelError, nearest_of

from . import receptive_field


def describe_layers(module: nn.Module, input_shape: tuple[int, int, int]) -> tuple[LayerInfo, ...]:
    """Describe every convolution and linear layer, in forward order.

    Parameters
    ----------
    module : nn.Module
        In eval mode, on the CPU.
    input_shape : (int, int, int)
        Colours, height and width of one input.

    Returns
    -------
    tuple of LayerInfo
        `inputs` are the nearest lower layers among all of them.

    Raises
    ------
    ModelError
        The model does not take such an input, or calls a layer more than once.
    """
    generator = torch.Generator().manual_seed(0)
    reference = next((weight for weight in module.parameters()), torch.zeros(()))
    images = torch.rand((1, *input_shape), generator=generator).to(reference).requires_grad_()
    with torch.enable_grad(), _recording(module) as outputs:
        try:
            module(images)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ModelError(f"the model fails on an input of shape {(1, *input_shape)}: {error}") from error
    fields = receptive_field.trace(images, outputs)
    parents = _find_parents(outputs)
    modules = dict(module.named_modules())
    return tuple(
        LayerInfo(
            name=name,
            kind=type(modules[name]).__name__,
            n_channels=output.shape[1] if output.ndim == 4 else output.shape[-1],
            height=output.shape[2] if output.ndim == 4 else output[0].numel() // output.shape[-1],
            width=output.shape[3] if output.ndim == 4 else 1,
            receptive_field=fields[name],
            inputs=parents[name],
        )
        for name, output in outputs.items()
    )


def select_layers(infos: Sequence[LayerInfo], patterns: Sequence[str]) -> tuple[LayerInfo, ...]:
    """Select layers by name or shell pattern.

    Parameters
    ----------
    infos : sequence of LayerInfo
        All layers of the model, from `describe_layers`.
    patterns : sequence of str
        Empty selects every two-dimensional convolution.

    Returns
    -------
    tuple of LayerInfo
        In forward order; `inputs` are the nearest lower layers of the selection.

    Raises
    ------
    ModelError
        A pattern matches nothing, or there is no convolution to select.
    """
    names = [info.name for info in infos]
    selected = {info.name for info in infos if info.kind == "Conv2d"} if not patterns else match_layers(names, patterns)
    if not selected:
        raise ModelError(f"the model has no two-dimensional convolution to select; its layers: {', '.join(names)}")
    return tuple(
        replace(info, inputs=_nearest_selected(info.name, infos, selected)) for info in infos if info.name in selected
    )


def match_layers(names: Sequence[str], patterns: Sequence[str]) -> set[str]:
    """Find the layers that any of the patterns means: a layer's own name, or a shell pattern.

    Raises
    ------
    ModelError
        A pattern matches none of the names.
    """
    matched = set[str]()
    for pattern in patterns:
        # A dotted path may hold no wildcard, but brackets of a pattern must not hide an exact name.
        matching = {name for name in names if name == pattern or fnmatch.fnmatchcase(name, pattern)}
        if not matching:
            nearest = nearest_of(pattern, names, cutoff=0.4, otherwise="the model's layers")
            raise ModelError(f"no layer matches {pattern!r}{nearest}")
        matched |= matching
    return matched


@contextmanager
def _recording(module: nn.Module) -> Iterator[dict[str, torch.Tensor]]:
    """Collect the outputs of convolutions and linear layers by name, in call order."""
    outputs: dict[str, torch.Tensor] = {}

    def record(name: str) -> Any:  # noqa: ANN401 - the signature of a hook is torch's
        def hook(_: nn.Module, __: tuple[Any, ...], output: torch.Tensor) -> None:
            if name in outputs:
                raise ModelError(
                    f"layer {name!r} is called more than once in one forward pass, so its channels have no single "
                    "activation; give every call a module of its own"
                )
            outputs[name] = output

        return hook

    handles = [
        layer.register_forward_hook(record(name))
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _find_parents(outputs: dict[str, torch.Tensor]) -> dict[str, tuple[str, ...]]:
    """Find the layers that feed each layer with no other layer between, by walking the recorded operations."""
    names = {output.grad_fn: name for name, output in outputs.items()}
    parents = {}
    for name, output in outputs.items():
        found, seen = set(), set()
        stack: list[Any] = [output.grad_fn]
        while stack:
            for node, _ in stack.pop().next_functions:
                if node is None or node in seen:
                    continue
                seen.add(node)
                if node in names:
                    found.add(names[node])
                else:
                    stack.append(node)
        parents[name] = tuple(other for other in outputs if other in found)
    return parents


def _nearest_selected(name: str, infos: Sequence[LayerInfo], selected: set[str]) -> tuple[str, ...]:
    """Find the selected ancestors that are not ancestors of another selected ancestor."""
    ancestors: dict[str, set[str]] = {}
    for info in infos:
        ancestors[info.name] = set(info.inputs).union(*(ancestors.get(parent, set()) for parent in info.inputs))
    own = ancestors[name] & selected
    hidden: Iterable[str] = set[str]().union(*(ancestors[other] for other in own))
    return tuple(info.name for info in infos if info.name in own.difference(hidden))
