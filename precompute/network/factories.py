"""From the name of a factory to a bare module: torchvision's, timm's, the project's own, or a user's.

Owns finding and calling factories, and taking off what wraps a module. Must not know weights files, heads or data.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn
from torch.optim.swa_utils import AveragedModel

from precompute.config import Config, ModelConfig
from precompute.errors import ModelError, nearest_of
from precompute.extensions import call_factory

AS_BUILT = ("random", "factory")
"""Values of model.weights that leave a module as its factory built it: seeded noise, or what the factory loaded."""

PRETRAINED = "pretrained"
"""The value of model.weights that has timm download its own."""


@dataclass(frozen=True)
class BuiltinNetwork:
    """A network that ships with the project, named ``builtin:<name>`` in a config so that no digest knows its module.

    Attributes
    ----------
    make : callable
        Builds it with torch's current random state.
    weights : Path
        A safetensors file.
    """

    make: Callable[[], nn.Module]
    weights: Path


@dataclass(frozen=True, eq=False)
class BuiltModule:
    """What a factory gave.

    Attributes
    ----------
    module : nn.Module
        On the CPU, in eval mode, without wrappers.
    has_weights : bool
        The factory brought the weights that the config asks for.
    class_names : tuple of str
        Of those weights where they say so.
    notes : tuple of str
        What a reader should know of how it came about.
    """

    module: nn.Module
    has_weights: bool
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def build_module(config: Config, builtin: Mapping[str, BuiltinNetwork]) -> BuiltModule:
    """Call the config's factory.

    Raises
    ------
    ModelError
        There is no such factory, its arguments do not fit, it fails, or what it gives cannot be explained at all.
    """
    kind, _, name = config.model.factory.partition(":")
    if not kind or not name:
        raise ModelError(
            f"{config.path}: model.factory is {config.model.factory!r}, expected 'torchvision:<name>', 'timm:<name>', "
            "'builtin:<name>' or 'package.module:factory'"
        )
    if kind == "torchvision":
        built = _make_torchvision(name, config.model)
    elif kind == "timm":
        built = _make_timm(name, config.model)
    elif kind == "builtin":
        built = BuiltModule(find_builtin(config.model.factory, builtin).make(), has_weights=False)
    else:
        built = BuiltModule(_call_factory(config), config.model.weights in AS_BUILT)
    module, notes = _unwrap(built.module, config.model.factory)
    return BuiltModule(module, built.has_weights, built.class_names, (*built.notes, *notes))


def find_builtin(key: str, builtin: Mapping[str, BuiltinNetwork]) -> BuiltinNetwork:
    """Look up ``builtin:<name>``; raises ModelError where there is none of that name."""
    name = key.partition(":")[2]
    if name not in builtin:
        known = ", ".join(f"builtin:{found}" for found in sorted(builtin)) or "none"
        raise ModelError(f"no built-in network {key!r}; known: {known}")
    return builtin[name]


def torchvision_weights(model: ModelConfig) -> Any:  # noqa: ANN401 - each network has an enum of its own
    """Find torchvision's own weights that a config names; None where it names a file or another source."""
    kind, _, name = model.factory.partition(":")
    if kind != "torchvision" or name not in torchvision.models.list_models(module=torchvision.models):
        return None
    return torchvision.models.get_model_weights(name).__members__.get(model.weights.rpartition(".")[2])


def import_timm(factory: str) -> Any:  # noqa: ANN401 - it need not be installed, so it has no type here
    """Import timm; raises ModelError with the line that installs it."""
    if importlib.util.find_spec("timm") is None:
        raise ModelError(f"model.factory {factory!r} needs the package timm: run `pip install timm`")
    return importlib.import_module("timm")


# --- torchvision and timm --------------------------------------------------------------------------------------


def _make_torchvision(name: str, model: ModelConfig) -> BuiltModule:
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        if name in torchvision.models.list_models():
            raise ModelError(
                f"torchvision's {name!r} is not an image classifier; the atlas needs one logit for each class"
            )
        raise ModelError(f"torchvision has no classifier {name!r}{nearest_of(name, known, otherwise='known')}")
    weights = torchvision_weights(model)
    members = ", ".join(torchvision.models.get_model_weights(name).__members__)
    if weights is None and not _is_file(model.weights):
        raise ModelError(
            f"torchvision:{name} has no weights {model.weights!r}; known: {members}, a weights file, 'builtin:<name>' "
            "or 'random'"
        )
    try:
        module = torchvision.models.get_model(name, weights=weights, **model.arguments)
    except (TypeError, ValueError) as error:
        raise ModelError(f"torchvision:{name} does not take the arguments {model.arguments}: {error}") from error
    except (OSError, RuntimeError) as error:
        if weights is None:
            raise ModelError(f"torchvision:{name} failed: {error}") from error
        raise ModelError(
            f"cannot download the weights {weights.name} of torchvision:{name} from {weights.url}: {error}. Check the "
            f"network, or put the file into {Path(torch.hub.get_dir()) / 'checkpoints'}, or name a weights file "
            "as model.weights."
        ) from error
    class_names = tuple(weights.meta.get("categories", ())) if weights else ()
    return BuiltModule(module, weights is not None or model.weights in AS_BUILT, class_names)


def _make_timm(name: str, model: ModelConfig) -> BuiltModule:
    timm = import_timm(model.factory)
    if not timm.is_model(name):
        raise ModelError(f"timm has no model {name!r}{nearest_of(name.partition('.')[0], timm.list_models())}")
    own = model.weights == PRETRAINED
    if not own and not _is_file(model.weights):
        raise ModelError(
            f"timm:{name} has no weights {model.weights!r}; expected '{PRETRAINED}' (timm downloads them), a weights "
            "file or 'random'"
        )
    try:
        module = timm.create_model(name, pretrained=own, **model.arguments)
    except (TypeError, ValueError) as error:
        raise ModelError(f"timm:{name} does not take the arguments {model.arguments}: {error}") from error
    except Exception as error:  # downloads of timm's hub fail in many ways, none of them shared
        raise ModelError(
            f"timm:{name} failed{' to download its weights' if own else ''}: {type(error).__name__}: {error}. Check "
            "the "
            "network, or name a weights file as model.weights"
        ) from error
    return BuiltModule(module, own or model.weights in AS_BUILT)


def _is_file(weights: str) -> bool:
    """Tell a value of model.weights that torchvision and timm need not know: a file's name has a dot or a slash."""
    return weights in AS_BUILT or weights.startswith("builtin:") or any(mark in weights for mark in "./\\")


# --- a user's own ----------------------------------------------------------------------------------------------


def _call_factory(config: Config) -> nn.Module:
    """Import ``package.module:factory``, the config's folder first, and call it."""
    address, arguments = config.model.factory, config.model.arguments
    module = call_factory(address, "model.factory", config.path.parent, ModelError, written=arguments)
    if not isinstance(module, nn.Module):
        raise ModelError(f"{address} returned {type(module).__name__}, expected a torch.nn.Module")
    return module


# --- wrappers --------------------------------------------------------------------------------------------------


def _unwrap(module: nn.Module, factory: str) -> tuple[nn.Module, tuple[str, ...]]:
    """Take off what spreads or compiles a module, at any depth, and refuse what is no Python code any more."""
    taken: list[str] = []
    module = _inner(module, taken)
    for part in list(module.modules()):
        if isinstance(part, torch.jit.ScriptModule):
            raise ModelError(
                f"{factory} gives a TorchScript program: its operations are compiled and no longer those of modules, "
                "so "
                "it cannot be explained. Return the Python module that it was made from; its weights still fit"
            )
        for name, child in list(part.named_children()):
            inner = _inner(child, taken)
            if inner is not child:
                setattr(part, name, inner)
        # What module.compile() leaves behind; the plain forward computes the same.
        part._compiled_call_impl = None
    notes = [f"{factory}: took off {name}" for name in dict.fromkeys(taken)]
    tensors = [*module.parameters(), *module.buffers()]
    if any(tensor.is_meta for tensor in tensors):
        raise ModelError(f"{factory} gives a module on the device 'meta', which holds no values; build it on the CPU")
    if any(tensor.dtype in (torch.float16, torch.bfloat16) for tensor in tensors):
        module = module.float()
        notes.append(f"{factory}: in half precision, computed in float32")
    return module.cpu().eval(), tuple(notes)


def _inner(module: nn.Module, taken: list[str]) -> nn.Module:
    while True:
        inner = getattr(module, "_orig_mod", None)
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel | AveragedModel):
            inner = module.module
        if not isinstance(inner, nn.Module):
            return module
        taken.append("torch.compile" if hasattr(module, "_orig_mod") else type(module).__name__)
        module = inner
