"""Small sequential nets for the tests of the fast engine, with seeded random weights in float64."""

import torch
from torch import nn

from precompute.network.folding import simplify
from precompute.network.graph import capture
from precompute.network.layers import describe_layers, find_layers, select_layers
from precompute.relevance.assignment import assign


def randomise(module, seed=0):
    """Give every BatchNorm statistics that matter and every bias a value of both signs."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.copy_(torch.randn(part.running_mean.shape, generator=generator) * 0.3)
            part.running_var.copy_(torch.rand(part.running_var.shape, generator=generator) + 0.5)
            part.weight.data.copy_(torch.randn(part.weight.shape, generator=generator))
        if getattr(part, "bias", None) is not None:
            part.bias.data.copy_(torch.randn(part.bias.shape, generator=generator) * 0.2)
    return module.double().eval().requires_grad_(False)


def plain():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(True), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(True), nn.MaxPool2d(2),
        nn.Conv2d(8, 9, 3, padding=1), nn.ReLU(True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(9 * 16, 7), nn.ReLU(),
        nn.Dropout(), nn.Linear(7, 5),
    )  # fmt: skip


def strided():
    return nn.Sequential(
        nn.Conv2d(3, 6, 5, stride=2, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, groups=2, padding=2, dilation=2),
        nn.ReLU(), nn.MaxPool2d(3, 2, padding=1), nn.Conv2d(8, 8, 2, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(8 * 2 * 2, 5),
    )  # fmt: skip


def averaged():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2, padding=1, ceil_mode=True), nn.Conv2d(6, 8, 3),
        nn.ReLU(), nn.AvgPool2d(3, 1, padding=1, count_include_pad=False), nn.AdaptiveAvgPool2d(3), nn.Flatten(),
        nn.Linear(72, 5),
    )  # fmt: skip


def unrectified():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1),
        nn.Conv2d(8, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5),
    )  # fmt: skip


def normalised():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1),
        nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 64, 7), nn.BatchNorm1d(7), nn.ReLU(),
        nn.Linear(7, 5),
    )  # fmt: skip


def dense_first():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 8), nn.ReLU(), nn.Linear(8, 5))


def grouped_first():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3), nn.ReLU(), nn.Conv2d(6, 6, 3, padding="same"), nn.ReLU(),
        nn.Flatten(), nn.Linear(6 * 64, 5),
    )  # fmt: skip


def with_narrow_head(factory, n_classes, width=32):
    """Make a torchvision chain whose hidden linear layers are narrow: their hundreds of megabytes show nothing more."""
    with torch.device("meta"):
        module = factory(num_classes=n_classes)
    places = [place for place, part in enumerate(module.classifier) if isinstance(part, nn.Linear)]
    n_inputs = module.classifier[places[0]].in_features
    for place in places:
        n_outputs = n_classes if place == places[-1] else width
        module.classifier[place], n_inputs = nn.Linear(n_inputs, n_outputs), n_outputs
    module.to_empty(device="cpu")
    for part in module.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
    return module


TINY = (plain, strided, averaged, unrectified, normalised, dense_first, grouped_first)


def tiny(factory):
    """Build one of `TINY` for (3, 16, 16) images."""
    torch.manual_seed(0)
    return randomise(factory())


def layer_names(module):
    """List the convolutions and linear layers in order."""
    return [name for name, part in module.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)]


def layer_infos(module, shape, patterns=("*",)):
    """Describe the layers of a module that patterns select; no pattern selects as a config without layers does."""
    graph = simplify(capture(module, shape))
    rules = assign(graph)
    layers = rules.reached(find_layers(graph))
    selected = select_layers(tuple(layers.values()), patterns)
    return describe_layers(graph, {layer.name: layer for layer in selected}, rules.reaches)
