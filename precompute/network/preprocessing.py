"""The preprocessing that a network's own weights are known to want.

Owns reading it from torchvision's weights and from timm's configurations, where a config does not set it. Must not know
images: the values go into the config's section.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import typing
from typing import Any

from torchvision.transforms import InterpolationMode

from precompute.config import Config, Interpolation

from .factories import import_timm, torchvision_weights

_INTERPOLATIONS = typing.get_args(Interpolation)


def take_preprocessing(config: Config) -> tuple[Config, tuple[str, ...]]:
    """Fill in what a config leaves open of its preprocessing with what the model wants.

    Returns
    -------
    config : Config
        The same where the model says nothing, or everything is given.
    notes : tuple of str
        What was taken from where, and what the model wants that cannot be done.
    """
    if config.given is None:
        return config, ()
    source, wanted, notes = _find(config)
    taken = {key: value for key, value in wanted.items() if f"preprocessing.{key}" not in config.given}
    if not taken:
        return config, ()
    values = ", ".join(f"{key} {_print(value)}" for key, value in taken.items())
    preprocessing = dataclasses.replace(config.preprocessing, **taken)
    return dataclasses.replace(config, preprocessing=preprocessing), (f"preprocessing of {source}: {values}", *notes)


def _find(config: Config) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    weights = torchvision_weights(config.model)
    if weights is not None:
        return f"torchvision's {weights}", *_read_torchvision(weights.transforms())
    # Without timm the model cannot be built either, and building it says so.
    if config.model.factory.startswith("timm:") and importlib.util.find_spec("timm") is not None:
        name = config.model.factory.partition(":")[2]
        timm = import_timm(config.model.factory)
        known = timm.get_pretrained_cfg(name, allow_unregistered=True) if timm.is_model(name) else None
        if known is not None and "in_chans" not in config.model.arguments:
            return f"timm's {known.tag or 'configuration'} of {name}", *_read_timm(known.to_dict())
    return "", {}, ()


def _read_torchvision(preset: Any) -> tuple[dict[str, Any], tuple[str, ...]]:  # noqa: ANN401 - torchvision has no types
    wanted: dict[str, Any] = {}
    if len(getattr(preset, "resize_size", ())) == 1 and len(getattr(preset, "crop_size", ())) == 1:
        wanted = {"resize": preset.resize_size[0], "crop": preset.crop_size[0]}
    wanted |= {"mean": tuple(preset.mean), "std": tuple(preset.std)}
    if isinstance(preset.interpolation, InterpolationMode) and preset.interpolation.value in _INTERPOLATIONS:
        wanted["interpolation"] = preset.interpolation.value
    return wanted, ()


def _read_timm(known: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    wanted: dict[str, Any] = {key: tuple(known[key]) for key in ("mean", "std") if known.get(key)}
    size: tuple[int, ...] = tuple(known.get("input_size") or ())
    notes = []
    if len(size) == 3 and size[0] == 3 and size[1] == size[2]:
        # As timm's own evaluation does: the crop is a part of the resized shorter side, rounded down.
        side = math.floor(size[1] / (known.get("crop_pct") or 1.0))
        wanted |= {"crop": size[1], "resize": (side, side) if known.get("crop_mode") == "squash" else side}
    if known.get("interpolation") in _INTERPOLATIONS:
        wanted["interpolation"] = known["interpolation"]
    if known.get("crop_mode", "center") not in ("center", "squash"):
        notes.append(f"timm crops by {known['crop_mode']!r} for this model; the atlas takes the centre")
    return wanted, tuple(notes)


def _print(value: Any) -> str:  # noqa: ANN401 - a number, a word or a row of numbers
    if isinstance(value, tuple):
        return f"[{', '.join(f'{number:g}' for number in value)}]"
    return str(value)
