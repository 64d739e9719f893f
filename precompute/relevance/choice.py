"""From a config and its model to a graph, a device and an engine.

Owns what the config has to say about them. Must not know data sets or files.
"""

from __future__ import annotations

import re

import torch

from precompute.config import Config, RelevanceConfig
from precompute.errors import ConfigError
from precompute.network.folding import simplify
from precompute.network.graph import Graph, capture
from precompute.network.model import LoadedModel

from .engine import GraphEngine


def choose_device(name: str) -> torch.device:
    """Choose the device: ``auto`` takes CUDA where there is one.

    Raises
    ------
    ConfigError
        The name is no device, or not one of this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:[0-9]{1,3})?", name):
        raise ConfigError(
            f"relevance.device is {name!r}, expected auto, cpu, cuda or cuda:<n>: others lack double precision or were "
            "never compared"
        )
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()  # there and back: the device "meta" holds no values
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"relevance.device is {name!r}, which this machine does not have ({str(error).splitlines()[0]}). "
            "Use auto, cpu, cuda or cuda:<n>"
        ) from error
    return device


def input_dtype(config: RelevanceConfig) -> torch.dtype:
    """Return the type of the images that an engine is given: float64 where it computes in that, else float32."""
    return torch.float64 if config.precision == "float64" else torch.float32


def read_graph(config: Config, model: LoadedModel) -> Graph:
    """Read a model as a graph, in the precision that the config computes in.

    Raises
    ------
    UnsupportedModel
        The model cannot be read as a fixed graph of operations.
    """
    if input_dtype(config.relevance) == torch.float64:
        model.module.double()  # before norms are merged, so that the merge is as exact as the rest
    return simplify(capture(model.module, config.preprocessing.input_shape, model.name))


def make_engine(config: Config, model: LoadedModel, graph: Graph, layer_names: tuple[str, ...]) -> GraphEngine:
    """Make the engine of a model.

    Raises
    ------
    UnsupportedModel
        An operation of the model has no rule of relevance.
    """
    return GraphEngine(
        model.module,
        layer_names,
        config.relevance,
        graph.input_shape,
        choose_device(config.relevance.device),
        name=model.name,
        graph=graph,
    )
