"""Building a model and giving it weights, from safe formats only.

Owns factories, weights and their digest; layers are described in `layers` and offered here as well. Must not know
data sets or relevance.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import torchvision
from torch import nn

from precompute.config import Config, ModelConfig, resolve_path
from precompute.errors import ModelError, nearest_of

from .layers import describe_layers, select_layers

__all__ = ["BuiltinNetwork", "LoadedModel", "describe_layers", "load_model", "select_layers"]

StateDict = Mapping[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model ready for attribution.

    Attributes
    ----------
    module : nn.Module
        On the CPU, in eval mode, no parameter requires a gradient, no activation works in place.
    name : str
        The factory it came from.
    weights_digest : str
        SHA-256 over the sorted state dict: names, dtypes, shapes and bytes.
    n_classes : int
    class_names : tuple of str
        Of the weights where they say so (torchvision's categories, ``classes`` in a safetensors header); else empty.
    """

    module: nn.Module
    name: str
    weights_digest: str
    n_classes: int
    class_names: tuple[str, ...] = ()


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


def load_model(config: Config, builtin: Mapping[str, BuiltinNetwork] | None = None) -> LoadedModel:
    """Build the config's model with its weights.

    Parameters
    ----------
    config : Config
    builtin : mapping of str to BuiltinNetwork, optional
        What ``builtin:<name>`` may name, as a factory and as weights.

    Raises
    ------
    ModelError
        Unknown factory, weights that are missing, unsafe or do not fit, or a model that is no image classifier.
    """
    # Building draws from the global generator; forking keeps the caller's random numbers as they were.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="torchvision")
        warnings.filterwarnings("ignore", message="Detected pickle protocol")
        torch.manual_seed(config.seed)
        module, class_names = _build(config, builtin or {})
    module.eval().requires_grad_(False)
    for part in module.modules():
        if getattr(part, "inplace", False) is True:
            part.inplace = False  # type: ignore[assignment]
    n_classes = _count_classes(module, config)
    return LoadedModel(
        module=module,
        name=config.model.factory,
        weights_digest=digest_weights(module.state_dict()),
        n_classes=n_classes,
        class_names=class_names if len(class_names) == n_classes else (),
    )


def digest_weights(state: StateDict) -> str:
    """Compute the SHA-256 (hexadecimal) of a state dict, whatever the order of its names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _build(config: Config, builtin: Mapping[str, BuiltinNetwork]) -> tuple[nn.Module, tuple[str, ...]]:
    """Make the module and give it weights; also return the class names that the weights know."""
    kind, separator, name = config.model.factory.partition(":")
    if not separator or not kind or not name:
        raise ModelError(
            f"{config.path}: model.factory is {config.model.factory!r}, expected 'torchvision:<name>', "
            "'builtin:<name>' or 'package.module:factory'"
        )
    weights = config.model.weights
    is_file = weights.endswith((".safetensors", ".pt", ".pth"))
    if kind == "torchvision" and not is_file and weights != "random" and not weights.startswith("builtin:"):
        return _download_torchvision(name, config.model)
    if kind == "torchvision":
        module = _make_torchvision(name, config.model)
    elif kind == "builtin":
        module = _find_builtin(config.model.factory, builtin).make()
    else:
        module = _call_factory(kind, name, config)
    if weights == "random":
        return module, ()
    if not is_file and not weights.startswith("builtin:"):
        raise ModelError(
            f"{config.path}: model.weights is {weights!r}, expected a .safetensors or .pt file, 'builtin:<name>' or "
            "'random' (torchvision's own weights need a factory 'torchvision:<name>')"
        )
    path = _find_builtin(weights, builtin).weights if weights.startswith("builtin:") else resolve_path(config, weights)
    state, class_names = _read_weights(path)
    _fit(module, state, path)
    return module, class_names


def _check_torchvision(name: str) -> None:
    """Refuse what is no torchvision classifier."""
    known = torchvision.models.list_models(module=torchvision.models)
    if name in known:
        return
    if name in torchvision.models.list_models():
        raise ModelError(f"torchvision's {name!r} is not an image classifier; the atlas needs one logit for each class")
    raise ModelError(f"torchvision has no classifier {name!r}{nearest_of(name, known, otherwise='known')}")


def _make_torchvision(name: str, model: ModelConfig) -> nn.Module:
    _check_torchvision(name)
    try:
        module: nn.Module = torchvision.models.get_model(name, weights=None, **model.arguments)
    except (TypeError, ValueError) as error:
        raise ModelError(f"torchvision:{name} does not take the arguments {model.arguments}: {error}") from error
    return module


def _download_torchvision(name: str, model: ModelConfig) -> tuple[nn.Module, tuple[str, ...]]:
    """Build a torchvision model with one of its own weights, which torchvision downloads and checks."""
    _check_torchvision(name)
    known = torchvision.models.get_model_weights(name)
    member = model.weights.rpartition(".")[2]
    if member not in known.__members__:
        raise ModelError(
            f"torchvision:{name} has no weights {model.weights!r}; known: {', '.join(known.__members__)}, "
            "a .safetensors or .pt file, 'builtin:<name>' or 'random'"
        )
    try:
        module = torchvision.models.get_model(name, weights=known[member], **model.arguments)
    except (OSError, RuntimeError) as error:
        raise ModelError(
            f"cannot download the weights {member} of torchvision:{name} from {known[member].url}: {error}. Check the "
            f"network, or put the file into {Path(torch.hub.get_dir()) / 'checkpoints'}, or name a weights file "
            "as model.weights."
        ) from error
    return module, tuple(known[member].meta.get("categories", ()))


def _call_factory(package: str, name: str, config: Config) -> nn.Module:
    """Import ``package.module:factory``, the config's folder first, and call it."""
    with _importable(config.path.parent, package):
        try:
            source = importlib.import_module(package)
        except ImportError as error:
            raise ModelError(
                f"cannot import {package!r} for model.factory {config.model.factory!r}: {error}. Modules are looked "
                f"for in {config.path.parent} and in the Python environment."
            ) from error
        factory = getattr(source, name, None)
        if not callable(factory):
            public = [key for key, value in vars(source).items() if callable(value) and not key.startswith("_")]
            nearest = nearest_of(name, public, cutoff=0.3, otherwise="it has")
            raise ModelError(f"module {package!r} has no factory {name!r}{nearest}")
        try:
            module = factory(**config.model.arguments)
        except Exception as error:  # whatever a user's own code raises, the message has to name it
            raise ModelError(f"{config.model.factory} failed: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{config.model.factory} returned {type(module).__name__}, expected a torch.nn.Module")
    return module


@contextmanager
def _importable(folder: Path, package: str) -> Iterator[None]:
    """Put the config's folder in front of the import path; a module of that name from elsewhere makes way."""
    top = package.partition(".")[0]
    cached = getattr(sys.modules.get(top), "__file__", None) or ""
    if (folder / f"{top}.py").exists() and Path(cached) != folder / f"{top}.py":
        sys.modules.pop(top, None)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _find_builtin(key: str, builtin: Mapping[str, BuiltinNetwork]) -> BuiltinNetwork:
    name = key.partition(":")[2]
    if name not in builtin:
        known = ", ".join(f"builtin:{found}" for found in sorted(builtin)) or "none"
        raise ModelError(f"no built-in network {key!r}; known: {known}")
    return builtin[name]


def _read_weights(path: Path) -> tuple[StateDict, tuple[str, ...]]:
    """Read a state dict, and the class names where a safetensors header has them."""
    try:
        if path.suffix != ".safetensors":
            _check_magic(path)
            return _unwrap(torch.load(path, map_location="cpu", weights_only=True), path), ()
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        return safetensors.torch.load_file(path), _parse_classes(metadata.get("classes", ""))
    except OSError as error:
        raise ModelError(f"cannot read the weights {path}: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} holds more than weights, and loading it could run code, so it is refused. Save "
            "`model.state_dict()` with torch.save or as .safetensors and name that file."
        ) from error
    except (safetensors.SafetensorError, RuntimeError, ValueError, EOFError, KeyError, AttributeError) as error:
        raise ModelError(f"{path} is not a readable weights file: {str(error).splitlines()[0]}") from error


def _check_magic(path: Path) -> None:
    """Refuse what is neither the zip file that torch.save writes nor an older pickle."""
    with path.open("rb") as file:
        start = file.read(2)
    if start != b"PK" and not start.startswith(b"\x80"):
        raise ModelError(f"{path} is not a readable weights file: it begins with {start!r}")


def _parse_classes(text: str) -> tuple[str, ...]:
    if text.startswith("["):
        return tuple(str(name) for name in json.loads(text))
    return tuple(text.split())


def _unwrap(content: object, path: Path) -> StateDict:
    """Take the state dict out of the wrappings that training scripts give it."""
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise ModelError(f"{path} holds {type(content).__name__}, expected a state dict: names and tensors")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def _fit(module: nn.Module, state: StateDict, path: Path) -> None:
    """Load a state dict, or say what the first tensors are that do not fit."""
    expected = module.state_dict()
    # A counter of training steps; old files lack it and nothing here reads it.
    missing = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in expected]
    misshapen = [
        f"{name} {tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    faults = [
        f"{len(found)} {what} ({'; '.join(found[:3])}{'; …' if len(found) > 3 else ''})"
        for what, found in (("missing", missing), ("unknown", unexpected), ("of another shape", misshapen))
        if found
    ]
    if faults:
        raise ModelError(f"the weights {path} do not fit the model: tensors {', '.join(faults)}")
    broken = [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise ModelError(f"the weights {path} hold values that are no finite numbers, first in {broken[0]}")
    module.load_state_dict(state, strict=False)


def _count_classes(module: nn.Module, config: Config) -> int:
    """Run one grey image through the model to see how many logits it gives."""
    side = config.preprocessing.crop
    parameter = next(module.parameters(), torch.zeros(()))
    try:
        with torch.inference_mode():
            logits = module(torch.zeros((1, 3, side, side), dtype=parameter.dtype))
    except Exception as error:  # a user's own model may raise anything
        raise ModelError(
            f"{config.model.factory} fails on an input of shape (1, 3, {side}, {side}): {error}. "
            "Is preprocessing.crop the size that it was trained with?"
        ) from error
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or logits.shape[0] != 1:
        found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ModelError(f"{config.model.factory} gives {found}, expected logits of shape (1, n_classes)")
    return int(logits.shape[1])
