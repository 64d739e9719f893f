"""The choice of a relevance engine and a device for a model.

Owns the decision only. Must not know data sets or files.
"""

from __future__ import annotations

import logging
import re

import torch

from precompute.config import Config
from precompute.errors import ConfigError, UnsupportedModel
from precompute.network.model import LoadedModel
from precompute.network.steps import qualifies

from .branching import BranchingEngine
from .protocol import Engine
from .sequential import SequentialEngine
from .soundness import check_sound
from .zennit import ZennitEngine

log = logging.getLogger(__name__)


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


def make_engine(config: Config, model: LoadedModel, layer_names: tuple[str, ...]) -> Engine:
    """Make the engine that the config asks for.

    ``auto`` takes the sequential one where the model qualifies, and the reference engine elsewhere, with direct
    reference heatmaps where the network has nothing but branches besides.

    Raises
    ------
    UnsupportedModel
        The chosen engine cannot treat the model correctly.
    """
    device = choose_device(config.relevance.device)
    shape = config.preprocessing.input_shape
    if config.relevance.precision == "float64":
        model.module.double()  # before batch norm is merged, so that the merge is as exact as the rest
    asked_for_zennit = config.relevance.engine == "zennit"
    reason = "not asked for" if asked_for_zennit else qualifies(model.module, shape, layer_names)
    if not reason:
        return SequentialEngine(model.module, layer_names, config.relevance, shape, device)
    if config.relevance.engine == "sequential":
        raise UnsupportedModel(
            f"relevance.engine is 'sequential', but {model.name} does not qualify: {reason}. Use engine = \"auto\""
        )
    check_sound(model.module, model.name)
    if asked_for_zennit:
        return ZennitEngine(model.module, layer_names, config.relevance, device)
    log.info("the reference engine is used: %s", reason)
    try:
        return BranchingEngine(model.module, layer_names, config.relevance, device)
    except UnsupportedModel as missing:
        log.info("its reference heatmaps come from zennit as well: %s", missing)
        return ZennitEngine(model.module, layer_names, config.relevance, device)
