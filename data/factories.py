"""Models that the shipped configs build with ``factories:<name>``; a template for a factory of your own.

A factory takes no arguments (or those of ``[model] arguments``) and returns a ``torch.nn.Module`` that maps
(n, 3, height, width) preprocessed images to (n, n_classes) logits. The weights come from ``[model] weights``.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn
from torchvision.models.vgg import make_layers

_CHANNELS: list[int | str] = [16, 16, "M", 32, 32, "M", 64, 64, 64, "M", 128, 128, 128, "M", 128, 128, 128, "M"]


def cifar_vgg16() -> nn.Module:
    """Build a VGG16 with batch norm and an eighth to a quarter of the channels, for 32 px images and 10 classes."""
    return nn.Sequential(
        OrderedDict(
            features=make_layers(_CHANNELS, batch_norm=True),
            flatten=nn.Flatten(),
            classifier=nn.Linear(128, 10),
        )
    )
