"""Every classification convnet family of torchvision through the engine: nodes, logits, conservation, one heatmap.

    python -m benchmarks.networks                       the table of docs/networks.md
    python -m benchmarks.networks --only resnet50 vgg16_bn --size 224

Weights and the statistics of norms are random, the image is a photo where one is given (`--photo`), else noise. What is
refused is listed with the reason.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn

from precompute.config import RelevanceConfig
from precompute.errors import AtlasError
from precompute.network.folding import simplify
from precompute.network.graph import capture
from precompute.relevance.engine import GraphEngine
from precompute.relevance.proof import measure_conservation

FAMILIES = (
    *("alexnet", "vgg16", "vgg16_bn", "squeezenet1_0", "resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2"),
    *("densenet121", "googlenet", "inception_v3", "mobilenet_v2", "mobilenet_v3_large", "mnasnet1_0"),
    *("shufflenet_v2_x1_0", "regnet_x_400mf", "regnet_y_400mf", "efficientnet_b0", "efficientnet_v2_s"),
    *("convnext_tiny", "vit_b_16", "swin_t", "maxvit_t"),
)
SIZES = {"inception_v3": 299, "vit_b_16": 224, "swin_t": 224, "maxvit_t": 224}


def make(name: str) -> nn.Module:
    """Build a network in float64 with random weights and statistics."""
    torch.manual_seed(0)
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    module: nn.Module = (
        torchvision.models.get_model(name, weights=None, **options).double().eval().requires_grad_(False)
    )
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
            part.weight.uniform_(0.5, 1.5)
            part.bias.normal_(0, 0.1)
    return module


def read_image(photo: Path | None, size: int) -> torch.Tensor:
    """Read a photo as (1, 3, size, size) float64, or make noise."""
    if photo is None:
        return torch.randn(1, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    pixels = np.asarray(Image.open(photo).convert("RGB").resize((size, size))) / 255
    return (torch.from_numpy(pixels).permute(2, 0, 1)[None] - 0.45) / 0.225


def measure(name: str, size: int, photo: Path | None) -> str:
    """Make one row of the table."""
    module, image = make(name), read_image(photo, size)
    try:
        graph = simplify(capture(module, (3, size, size), name))
        engine = GraphEngine(
            module,
            [],
            RelevanceConfig(precision="float64"),
            (3, size, size),
            torch.device("cpu"),
            name=name,
            graph=graph,
        )
    except AtlasError as refusal:
        return f"| {name} | refused: {str(refusal).partition(': ')[2].partition('. ')[0]} | | |"
    logits = engine.logits(image)
    heatmap, _ = engine.attribute(image, int(logits.argmax()))
    worst = max(measure_conservation(graph, image, name=name), key=lambda one: one.residual)
    assert heatmap.isfinite().all(), name
    return f"| {name} | {len(graph.nodes)} | {engine.proof.deviation:.0e} | {worst.residual:.0e} ({worst.operation}) |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="*", default=FAMILIES, metavar="NAME")
    parser.add_argument("--size", type=int, default=96, help="pixels; some networks need more and get it")
    parser.add_argument("--photo", type=Path)
    parsed = parser.parse_args(arguments)
    print("| network | operations | logits off by | worst conservation |")
    print("|---|---|---|---|")
    for name in parsed.only:
        print(measure(name, SIZES.get(name, parsed.size), parsed.photo), flush=True)


if __name__ == "__main__":
    main()
