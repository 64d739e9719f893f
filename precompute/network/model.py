"""The model of a config: built by its factory, with its weights, ending in one logit for each class.

Owns the order of these steps and the digest of the weights. Must not know data sets or relevance.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from precompute.config import Config, Task, resolve_path
from precompute.errors import ModelError

from .checkpoints import load_weights, read_checkpoint
from .factories import BuiltinNetwork, build_module, find_builtin
from .heads import attach_head

StateDict = Mapping[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model ready for attribution.

    Attributes
    ----------
    module : nn.Module
        On the CPU, in eval mode, no parameter requires a gradient, no activation works in place; from (n, channels,
        height, width) to (n, n_classes) logits.
    name : str
        The factory it came from.
    weights_digest : str
        SHA-256 over the sorted state dict: names, dtypes, shapes and bytes.
    n_classes : int
    class_names : tuple of str
        Of the weights where they say so (torchvision's categories, ``classes`` in a safetensors header); else empty.
    task : str
        How logits become probabilities; see `heads`.
    notes : tuple of str
        What a reader should know of where the weights were found and what was taken off.
    """

    module: nn.Module
    name: str
    weights_digest: str
    n_classes: int
    class_names: tuple[str, ...] = ()
    task: Task = "classes"
    notes: tuple[str, ...] = ()


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
        torch.manual_seed(config.seed)
        built = build_module(config, builtin or {})
        module, class_names, notes = built.module, built.class_names, built.notes
        if not built.has_weights:
            class_names, told = _load_file(module, config, builtin or {})
            notes = (*notes, *told)
    module.requires_grad_(False)
    for part in module.modules():
        if getattr(part, "inplace", False) is True:
            part.inplace = False  # type: ignore[assignment]
    digest = digest_weights(module.state_dict())
    model = config.model
    shape = config.preprocessing.input_shape
    n_classes = attach_head(module, shape, task=model.task, key=model.output, name=model.factory)
    return LoadedModel(
        module=module,
        name=config.model.factory,
        weights_digest=digest,
        n_classes=n_classes,
        class_names=class_names if len(class_names) == n_classes else (),
        task=config.model.task,
        notes=notes,
    )


def digest_weights(state: StateDict) -> str:
    """Compute the SHA-256 (hexadecimal) of a state dict, whatever the order of its names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _load_file(
    module: nn.Module, config: Config, builtin: Mapping[str, BuiltinNetwork]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the module the weights of the config's file; returns the class names and the notes of the file."""
    weights = config.model.weights
    if weights.startswith("builtin:"):
        path = find_builtin(weights, builtin).weights
    else:
        path = resolve_path(config, weights)
        if not path.exists() and not any(mark in weights for mark in "./\\"):
            raise ModelError(
                f"{config.path}: model.weights is {weights!r}, expected a weights file (safetensors, or of "
                "torch.save), "
                "'factory' (the factory loads them itself), 'builtin:<name>' or 'random' (torchvision's own weights "
                "need "
                "a factory 'torchvision:<name>')"
            )
    checkpoint = read_checkpoint(path)
    return checkpoint.class_names, load_weights(module, checkpoint, config.model.weights_key)
