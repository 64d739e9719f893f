"""A heatmap computed on windows is the heatmap computed on the whole frame."""

import pytest
import torch
from torch import nn
from torchvision.models import vgg11_bn

from precompute.config import RelevanceConfig
from precompute.relevance.engine import GraphEngine
from precompute.relevance.neuron_heatmaps import NeuronHeatmaps
from precompute.relevance.protocol import ReferenceRequest
from precompute.relevance.windows import Geometry
from tests import nets

CPU = torch.device("cpu")


def deep():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(True), nn.Conv2d(4, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(True),
        nn.MaxPool2d(2), nn.Conv2d(5, 6, 3, padding=1), nn.ReLU(True), nn.MaxPool2d(2), nn.Conv2d(6, 6, 3, padding=1),
        nn.ReLU(True), nn.Flatten(), nn.Linear(6 * 81, 4),
    )  # fmt: skip


def uneven():
    return nn.Sequential(
        nn.Conv2d(3, 4, (5, 3), stride=(2, 1), padding=(2, 0)), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1),
        nn.Conv2d(4, 6, 3, dilation=2, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 1, padding=1),
        nn.Conv2d(6, 6, 2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 4),
    )  # fmt: skip


def rectified_late():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=2), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(5, 6, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    )  # fmt: skip


def grouped_pixels():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, groups=3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(6, 4),
    )  # fmt: skip


class Masked(nn.Module):
    """Weighs positions by constants that have a frame of their own, however many axes they are written with."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.conv3, self.fc = nn.Conv2d(6, 6, 3), nn.Linear(6, 4)
        self.register_buffer("mask", torch.rand(37, 37))
        self.register_buffer("ramp", torch.rand(37))

    def forward(self, x):
        x = torch.relu(self.conv2(torch.relu(self.conv1(x)) * self.mask)) - self.ramp
        return self.fc(torch.relu(self.conv3(x)).mean((2, 3)))


def test_constants_with_a_frame_take_whole_frames(monkeypatch):
    torch.manual_seed(0)
    engine = engine_for(nets.randomise(Masked()), "EpsilonPlusFlat", 37)
    images = torch.randn(2, 3, 37, 37, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    check(engine, images, monkeypatch)


def engine_for(module, composite, size):
    names = [name for name, part in module.named_modules() if isinstance(part, nn.Conv2d)]
    return GraphEngine(module, names, RelevanceConfig(precision="float64", composite=composite), (3, size, size), CPU)


def requests_everywhere(engine, images):
    """Ask for corners, edges and the middle of every layer, unevenly over the images."""
    scores = engine.score(images, torch.zeros(len(images), dtype=torch.int64))
    requests = []
    for place, name in enumerate(engine.layer_names):
        height, width = engine._windows.geometry.frame(engine._layers[name].values[0])
        neurons = [0, width - 1, (height - 1) * width, height * width - 1, height // 2 * width + width // 2]
        requests += [
            ReferenceRequest(n % (place % len(images) + 1), name, n % 3, neuron) for n, neuron in enumerate(neurons)
        ]
        best = scores.layers[name].activation_neuron
        requests.append(ReferenceRequest(len(images) - 1, name, 1, int(best[-1, 1])))
    return requests


def check(engine, images, monkeypatch):
    requests = requests_everywhere(engine, images)
    cropped = engine.reference_heatmaps(images, requests)
    monkeypatch.setattr(Geometry, "covers", lambda *_: False)
    whole = engine.reference_heatmaps(images, requests)
    for request, ours, theirs in zip(requests, cropped, whole, strict=True):
        assert (ours - theirs).abs().max() <= 1e-10 * theirs.abs().max(), request


@pytest.mark.parametrize("depth", [None, 0, 1, 3, 6, 9])
@pytest.mark.parametrize("composite", ["EpsilonPlusFlat", "EpsilonPlus"])
@pytest.mark.parametrize("factory", [deep, uneven, rectified_late, grouped_pixels])
def test_windows_equal_whole_frames(factory, composite, depth, monkeypatch):
    torch.manual_seed(0)
    engine = engine_for(nets.randomise(factory()), composite, 37)
    geometry = engine._windows.geometry
    assert sum(geometry.covers(layer.values[0]) for layer in engine._layers.values()) > 1
    if depth is not None:
        monkeypatch.setattr(NeuronHeatmaps, "_best_depth", lambda *_: depth)
    images = torch.randn(3, 3, 37, 37, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    check(engine, images, monkeypatch)


def test_a_deep_network_takes_windows(monkeypatch):
    torch.manual_seed(0)
    engine = engine_for(nets.randomise(nets.with_narrow_head(vgg11_bn, 5)), "EpsilonPlusFlat", 64)
    by_window = [name for name, layer in engine._layers.items() if engine._windows.geometry.covers(layer.values[0])]
    assert len(by_window) == 8
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    check(engine, images, monkeypatch)


def test_memory_limits_do_not_change_the_result(monkeypatch):
    torch.manual_seed(0)
    engine = engine_for(nets.randomise(deep()), "EpsilonPlusFlat", 37)
    images = torch.randn(3, 3, 37, 37, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    requests = requests_everywhere(engine, images)
    before = engine.reference_heatmaps(images, requests)
    monkeypatch.setattr("precompute.relevance.neuron_heatmaps.WINDOW_ELEMENTS", {"cpu": 1})
    monkeypatch.setattr("precompute.relevance.neuron_heatmaps.FRAME_ELEMENTS", {"cpu": 1})
    after = engine.reference_heatmaps(images, requests)
    assert (before - after).abs().max() <= 1e-12 * before.abs().max()


def test_relevance_stays_inside_the_receptive_field():
    torch.manual_seed(0)
    engine = engine_for(nets.randomise(deep()), "EpsilonPlusFlat", 37)
    images = torch.randn(1, 3, 37, 37, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    heatmap = engine.reference_heatmaps(images, [ReferenceRequest(0, "6", 1, 9 * 18 + 9)])[0]
    # two convolutions, a pooling and one more convolution: 10 px from row 2 * (9 - 1) - 2
    outside = torch.ones_like(heatmap, dtype=torch.bool)
    outside[14:24, 14:24] = False
    assert heatmap.abs().sum() > 0
    assert heatmap[outside].abs().max() == 0


def test_a_gpu_takes_the_many_requests_of_one_image_together(monkeypatch):
    """What goes by rows there is what goes by windows here; the device is only said to be one."""
    torch.manual_seed(0)
    engine = engine_for(nets.randomise(deep()), "EpsilonPlusFlat", 37)
    images = torch.randn(2, 3, 37, 37, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    layer = engine.layer_names[2]
    asked = [ReferenceRequest(1, layer, channel % 6, channel * 7) for channel in range(8)]
    expected = engine.reference_heatmaps(images, asked)
    assert engine._crowded(asked) == set()
    monkeypatch.setattr(engine, "_device", torch.device("cuda"))
    assert (engine._crowded(asked), engine._crowded(asked[:7])) == ({1}, set())
    monkeypatch.undo()
    monkeypatch.setattr(engine, "_crowded", lambda _: {1})
    monkeypatch.setattr(NeuronHeatmaps, "compute", None)
    together = engine.reference_heatmaps(images, asked)
    assert (expected - together).abs().max() <= 1e-10 * expected.abs().max()
