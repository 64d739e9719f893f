"""The network of the built-in world: VGG16's shape, slim.

Owns the architecture. Must not know scenes or training.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from torch import nn
from torchvision.models.vgg import make_layers

from .objects import CLASS_NAMES

WEIGHTS_PATH = Path(__file__).with_name("world.safetensors")
"""The weights that ship with the world; ``make world-model`` writes them."""

WIDTHS: tuple[int | str, ...] = (
    8, 8, "M", 16, 16, "M", 32, 32, 32, "M", 64, 64, 64, "M", 96, 96, 96, "M",
)  # fmt: skip
"""Channels of VGG16's thirteen convolutions; "M" is a max-pool."""

BLOCK_ENDS = {"block4": 23, "block5": 30}
"""Position in `features` just before the pool that ends the block."""


def world_vgg() -> nn.Sequential:
    """Build the network with torch's current random state.

    Takes (n, 3, 128, 128) normalised images and gives (n, n_classes) logits. The classifier has no bias and training
    keeps the convolutions' biases at or below zero, so that no relevance is absorbed on its way down.
    """
    features = make_layers(list(WIDTHS))
    last = next(int(width) for width in reversed(WIDTHS) if width != "M")
    parts = {
        "features": features,
        "avgpool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "classifier": nn.Linear(last, len(CLASS_NAMES), bias=False),
    }
    return nn.Sequential(OrderedDict(parts))
