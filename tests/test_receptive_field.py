from __future__ import annotations

import copy

import pytest
import torch
import torchvision
from torch import nn

from precompute.network.receptive_field import box
from precompute.records import Box, ReceptiveField
from tests import nets


class Branches(nn.Module):
    """Two branches of different reach, joined by concatenation, then a sum around a dilated convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 2, 4, stride=2, padding=1)
        self.narrow = nn.Conv2d(2, 2, 1)
        self.wide = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.ReLU(), nn.AvgPool2d(3, stride=1, padding=1))
        self.dilated = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.top = nn.Conv2d(4, 2, 3)
        self.head = nn.Linear(2, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        stem = torch.relu(self.stem(images))
        joined = torch.cat([self.narrow(stem), self.wide(stem)], dim=1)
        top = self.top(self.pool(joined + torch.relu(self.dilated(joined))))
        return self.head(top.mean((2, 3)))


def probe(module: nn.Module, name: str, side: int, neuron: tuple[int, int]) -> tuple[Box, int]:
    """Find by gradients what a neuron sees: with every weight positive nothing cancels, and averages choose nothing."""
    linear = copy.deepcopy(module).double().eval().requires_grad_(False)
    for parent in list(linear.modules()):
        for key, child in list(parent.named_children()):
            if isinstance(child, nn.MaxPool2d):
                options = {"ceil_mode": child.ceil_mode, "padding": child.padding}
                setattr(parent, key, nn.AvgPool2d(child.kernel_size, child.stride, **options))
            elif isinstance(child, nn.ReLU | nn.BatchNorm2d):
                setattr(parent, key, nn.Identity())
            elif isinstance(child, nn.Conv2d):
                # Of mean weight 1, so that many layers do not overflow.
                child.weight.fill_(1 / child.weight[0].numel())
                child.bias = None
    outputs: list[torch.Tensor] = []
    dict(linear.named_modules())[name].register_forward_hook(lambda _, __, output: outputs.append(output))
    images = torch.ones((1, 3, side, side), dtype=torch.float64, requires_grad=True)
    linear(images)
    (gradient,) = torch.autograd.grad(outputs[0][0, :, neuron[0], neuron[1]].sum(), images)
    rows, columns = (gradient[0].abs().sum(0) > 0).nonzero(as_tuple=True)
    seen = Box(rows.min().item(), columns.min().item(), rows.max().item() + 1, columns.max().item() + 1)
    return seen, outputs[0].shape[-1]


def vgg11_features() -> nn.Module:
    return averaged(torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["A"]))


def alexnet_features() -> nn.Module:
    return averaged(torchvision.models.alexnet().features)


def averaged(features: nn.Module) -> nn.Module:
    """Give features logits, without another name for their layers."""
    features.register_forward_hook(lambda _, __, output: output.mean((2, 3)))
    return features


CASES = [
    (Branches, ["stem", "narrow", "wide.0", "dilated", "top"], 33),
    (alexnet_features, ["0", "6", "10"], 191),
    (vgg11_features, ["3", "18"], 160),
    (torchvision.models.squeezenet1_0, ["features.5.expand3x3", "features.10.squeeze", "features.12.expand3x3"], 191),
    (torchvision.models.resnet18, ["conv1", "layer1.0.conv2", "layer2.0.conv1", "layer2.1.conv2"], 128),
]


@pytest.mark.parametrize(("factory", "names", "side"), CASES, ids=[factory.__name__ for factory, _, _ in CASES])
def test_fields_equal_what_gradients_reach(factory, names, side):
    with torch.random.fork_rng(devices=[]):
        module = factory().eval().requires_grad_(False)
    fields = {info.name: info for info in nets.layer_infos(module, (3, side, side))}
    for name in names:
        info = fields[name]
        for row, column in [(info.height // 2, info.width // 2), (info.height // 2, info.width // 2 + 1), (0, 1)]:
            seen, width = probe(module, name, side, (row, column))
            assert width == info.width
            assert box(info.receptive_field, row * width + column, width, side, side) == seen, (name, row, column)


def test_known_fields_of_vgg16():
    with torch.random.fork_rng(devices=[]):
        module = (
            averaged(torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])).eval().requires_grad_(False)
        )
    fields = {info.name: info.receptive_field for info in nets.layer_infos(module, (3, 64, 64))}
    assert [fields[name].size for name in ("0", "7", "14", "28")] == [3, 14, 40, 196]
    assert fields["28"] == ReceptiveField(size=196, stride=16, start=-90)


class Gated(nn.Module):
    """A global gate: every neuron after it depends on the whole image."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.gate = nn.Conv2d(4, 4, 1)
        self.last = nn.Conv2d(4, 2, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.first(images)
        gate = torch.sigmoid(self.gate(features.mean((2, 3), keepdim=True)))
        return self.last(features * gate).mean((2, 3))


def test_what_sees_the_whole_image_has_no_field():
    fields = {info.name: info.receptive_field for info in nets.layer_infos(Gated(), (3, 9, 9))}
    assert fields == {"first": ReceptiveField(3, 1, 0), "last": None}


def test_boxes_are_clipped_and_never_empty():
    field = ReceptiveField(size=5, stride=4, start=-2)
    assert box(field, 0, 3, 10, 10) == Box(0, 0, 3, 3)
    assert box(field, 5, 3, 10, 10) == Box(2, 6, 7, 10)
    assert box(None, 5, 3, 10, 12) == Box(0, 0, 10, 12)
    assert box(ReceptiveField(1, 1, 20), 0, 1, 10, 10) == Box(9, 9, 10, 10)
