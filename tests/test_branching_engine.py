"""Shared passes give the reference engine's heatmaps."""

import pytest
import torch
from torchvision.models import resnet18, squeezenet1_0, squeezenet1_1

from precompute.config import RelevanceConfig
from precompute.errors import UnsupportedModel
from precompute.relevance.branching import BranchingEngine
from precompute.relevance.protocol import ReferenceRequest
from precompute.relevance.zennit import ZennitEngine

CPU = torch.device("cpu")


@pytest.mark.parametrize("factory", [squeezenet1_0, squeezenet1_1])
@pytest.mark.parametrize("options", [{}, {"composite": "EpsilonPlus"}, {"zero_params": True}])
def test_heatmaps_equal_the_reference_engine(factory, options):
    torch.manual_seed(0)
    module = factory().double().eval()
    layers = ["features.0", "features.4.squeeze", "features.9.expand1x1", "features.12.expand3x3"]
    config = RelevanceConfig(precision="float64", **options)
    images = torch.randn(2, 3, 65, 65, dtype=torch.float64)
    requests = [
        ReferenceRequest(image, layer, channel, neuron)
        for image in (1, 0)
        for layer in layers
        for channel, neuron in ((3, 1), (5, None), (0, 0))
    ] + [ReferenceRequest(1, "features.9.expand1x1", 4, target=7)]
    expected = ZennitEngine(module, layers, config, CPU).reference_heatmaps(images, requests)
    found = BranchingEngine(module, layers, config, CPU).reference_heatmaps(images, requests)
    scale = expected.abs().amax((1, 2)).clamp(min=1e-300)
    assert ((found - expected).abs().amax((1, 2)) / scale).max() < 1e-10


def test_residual_networks_are_left_to_the_reference_engine():
    with pytest.raises(UnsupportedModel):
        BranchingEngine(resnet18().eval(), ["layer1.0.conv1"], RelevanceConfig(), CPU)
