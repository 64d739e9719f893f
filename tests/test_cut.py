"""The parts of a cut add up to the logit, and shares are of all of it."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torchvision.models.densenet import DenseNet
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.models.resnet import Bottleneck, ResNet

from precompute.config import PreprocessingConfig, RelevanceConfig
from precompute.images.decoding import normalise, preprocess
from precompute.network.folding import simplify
from precompute.network.graph import capture
from precompute.network.layers import find_layers
from precompute.relevance.assignment import assign
from precompute.relevance.engine import GraphEngine

DOUBLE = RelevanceConfig(precision="float64", activation="sum")
CPU = torch.device("cpu")
SHARED = Path(__file__).parents[2] / "shared"

NETWORKS = {
    "squeezenet1_1": [
        "features.0",
        "features.3.squeeze",
        "features.12.expand1x1",
        "features.12.expand3x3",
        "features.7",
    ],
    "googlenet": ["inception3a.branch2.0.conv", "inception5b.branch4.1.conv", "inception4c"],
    "short resnet": ["conv1", "layer1.0.conv1", "layer1.0.downsample.0", "layer3.2.conv3", "layer4.0"],
    "short densenet": ["features.denseblock1.denselayer2.conv2", "features.transition2.conv"],
    "short efficientnet": ["features.2.1.block.0.0", "features.3.0"],
}
WHOLE = {
    "resnet50": ["conv1", "layer1.0.conv1", "layer1.0.downsample.0", "layer3.2.conv3", "layer4.2"],
    "densenet121": ["features.denseblock1.denselayer2.conv2", "features.transition2.conv"],
    "efficientnet_b0": ["features.3.1.block.0.0", "features.6.3"],
}


def short_efficientnet():
    """An EfficientNet of a few of its blocks: wide and narrow, strided and with a shortcut."""
    blocks = [
        MBConvConfig(1, 3, 1, 32, 16, 1, 1.0, 1.0),
        MBConvConfig(6, 3, 2, 16, 24, 2, 1.0, 1.0),
        MBConvConfig(6, 5, 2, 24, 40, 1, 1.0, 1.0),
    ]
    return EfficientNet(blocks, dropout=0.2)


SHORT = {
    "googlenet": lambda: torchvision.models.googlenet(init_weights=False),
    "short resnet": lambda: ResNet(Bottleneck, [1, 1, 3, 1]),
    "short densenet": lambda: DenseNet(block_config=(2, 2, 2, 2)),
    "short efficientnet": short_efficientnet,
}


def random_network(name):
    torch.manual_seed(0)
    module = SHORT[name]() if name in SHORT else torchvision.models.get_model(name, weights=None)
    module = module.double().eval().requires_grad_(False)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
            part.bias.normal_(0, 0.1)
    return module


@cache
def read(name):
    """Make and read a network once: its layers, module and graph."""
    module = random_network(name)
    return {**NETWORKS, **WHOLE}[name], module, simplify(capture(module, (3, 64, 64)))


@pytest.mark.parametrize("name", [*NETWORKS, *(pytest.param(name, marks=pytest.mark.slow) for name in WHOLE)])
def test_the_parts_of_every_cut_add_up_to_the_logit(name):
    layers, module, graph = read(name)
    engine = GraphEngine(module, layers, DOUBLE, (3, 64, 64), CPU, graph=graph)
    generator = torch.Generator().manual_seed(2)
    for target in (0, 5):
        image = torch.randn(1, 3, 64, 64, dtype=torch.float64, generator=generator)
        logit = float(engine.logits(image)[0, target])
        _, found = engine.attribute(image, target)
        for layer in layers:
            split = found[layer].split
            assert split.logit == logit
            assert abs(split.residual) <= 1e-9 * (abs(logit) + split.absolute), layer
            assert split.own == pytest.approx(float(found[layer].relevance.sum()), rel=1e-12)
            assert bool(split.beside) == bool(engine.beside(layer))
            scores = engine.score(image, torch.tensor([target])).layers[layer].relevance[0]
            expected = found[layer].relevance / (split.absolute + 1e-10)
            assert (scores - expected).abs().max() <= 1e-9 * scores.abs().max()


def test_what_runs_beside_is_named():
    layers, module, graph = read("short resnet")
    assert find_layers(graph)["layer4.0"].kind == "Bottleneck"
    engine = GraphEngine(module, layers, DOUBLE, (3, 64, 64), CPU, graph=graph)
    assert engine.beside("conv1") == ()
    assert engine.beside("layer4.0") == ()
    assert engine.beside("layer1.0.conv1") == ("layer1.0.downsample.0",)
    assert engine.beside("layer3.2.conv3") == ("layer3.1",)
    infos = {info.name: info for info in engine.describe()}
    assert infos["layer3.2.conv3"].beside == ("layer3.1",)


class Halves(nn.Module):
    """Two halves side by side, the sum of which is the logit."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.fc = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Linear(8, 2)

    def forward(self, x):
        return self.fc(F.relu(torch.cat([self.left(x), self.right(x)], 1)).mean((2, 3)))


def test_halves_have_one_whole():
    torch.manual_seed(0)
    module = Halves().double().eval()
    engine = GraphEngine(module, ["left", "right", "cat"], DOUBLE, (3, 8, 8), CPU)
    image = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    _, found = engine.attribute(image, 1)
    assert engine.beside("left") == ("right",)
    assert engine.beside("cat") == ()
    whole = {name: found[name].split.absolute for name in found}
    assert whole["left"] == pytest.approx(whole["right"], rel=1e-12)
    assert whole["left"] == pytest.approx(whole["cat"], rel=1e-12)
    scores = engine.score(image, torch.tensor([1])).layers
    halves = float(scores["left"].relevance.abs().sum() + scores["right"].relevance.abs().sum())
    assert halves == pytest.approx(1.0, rel=1e-6)
    of_layer = GraphEngine(module, ["left"], RelevanceConfig(precision="float64", shares="layer"), (3, 8, 8), CPU)
    assert float(of_layer.score(image, torch.tensor([1])).layers["left"].relevance.abs().sum()) == pytest.approx(1)


def test_no_share_of_a_half_is_told_as_one_of_the_whole():
    weights = SHARED / "models" / "squeezenet1_0-imagenet.safetensors"
    photos = sorted((SHARED / "data" / "imagenet-sample").rglob("*.JPEG")) or sorted(
        (SHARED / "data" / "imagenet-sample").rglob("*.jpg")
    )
    if not weights.exists() or not photos:
        pytest.skip("the development photos and networks are not here (../shared)")
    module = torchvision.models.squeezenet1_0()
    module.load_state_dict(load_file(weights))
    module = module.double().eval().requires_grad_(False)
    halves = ["features.12.expand1x1", "features.12.expand3x3"]
    engine = GraphEngine(module, halves, DOUBLE, (3, 224, 224), CPU)
    for photo in photos[:: len(photos) // 3][:3]:
        pixels = torch.from_numpy(np.asarray(preprocess(Image.open(photo).convert("RGB"), PreprocessingConfig())))
        image = normalise(pixels[None], PreprocessingConfig(), torch.float64)
        logits = engine.logits(image)[0]
        _, found = engine.attribute(image, int(logits.argmax()))
        left, right = (found[name].split for name in halves)
        assert left.own + right.own + left.biases + left.stabilisers == pytest.approx(float(logits.max()), rel=1e-9)
        assert left.absolute == pytest.approx(left.own_absolute + right.own_absolute, rel=1e-9)
        assert max(left.own_absolute, right.own_absolute) < left.absolute


def test_the_reach_of_a_rule_is_known_where_it_stands():
    rules = assign(read("squeezenet1_1")[2])
    assert rules.reaches["conv2d"].span == (3, 3)


ON_PHOTOS = {
    "squeezenet1_0": ["features.0", "features.5.expand3x3", "features.9.squeeze", "features.12.expand1x1"],
    "googlenet": NETWORKS["googlenet"],
    "resnet50": WHOLE["resnet50"],
    "densenet121": WHOLE["densenet121"],
}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not SHARED.exists(), reason="the development photos are not here (../shared)")
@pytest.mark.parametrize("name", ON_PHOTOS)
def test_the_parts_of_every_cut_of_ten_photos_add_up_to_the_logit(name):
    """At 224 px, where every network is one whole; SqueezeNet with its real weights."""
    layers, module = ON_PHOTOS[name], random_network(name)
    if name == "squeezenet1_0":
        module.load_state_dict(load_file(SHARED / "models/squeezenet1_0-imagenet.safetensors"))
    engine = GraphEngine(module, layers, DOUBLE, (3, 224, 224), CPU)
    paths = sorted((SHARED / "data/imagenet-sample").glob("*/*.JPEG"))[::70][:10]
    assert len(paths) == 10
    preprocessing = PreprocessingConfig(resize=256, crop=224)
    for path in paths:
        with Image.open(path) as photo:
            pixels = torch.from_numpy(np.asarray(preprocess(photo.convert("RGB"), preprocessing)))[None]
        image = normalise(pixels, preprocessing, torch.float64)
        logits = engine.logits(image)[0]
        target = int(logits.argmax())
        _, found = engine.attribute(image, target)
        for layer in layers:
            split = found[layer].split
            beside = sum(part.relevance for part in split.beside)
            total = split.own + beside + split.biases + split.stabilisers
            assert split.logit == float(logits[target])
            assert abs(total - split.logit) <= 1e-9 * max(abs(split.logit), split.absolute), (path.name, layer)
