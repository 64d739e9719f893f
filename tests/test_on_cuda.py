"""A CUDA device gives what the CPU gives: scores, attributions, heatmaps, and the choice of winners."""

import functools

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from precompute.config import RelevanceConfig
from precompute.relevance.engine import GraphEngine
from precompute.relevance.protocol import ReferenceRequest

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

NETWORKS = ("vgg16", "resnet18", "mobilenet_v2", "squeezenet1_0", "densenet121", "shufflenet_v2_x1_0")
SIZE = 64


@functools.cache
def pair(name, precision="float64", composite="EpsilonPlusFlat"):
    """The same network's engines on the CPU and on CUDA, at its last three layers and its first."""
    torch.manual_seed(0)
    module = get_model(name).eval().requires_grad_(False)
    if precision == "float64":
        module = module.double()
    layers = [part for part, found in module.named_modules() if isinstance(found, nn.Conv2d)]
    chosen, shape = (layers[0], *layers[-3:]), (3, SIZE, SIZE)
    config = RelevanceConfig(precision=precision, composite=composite)
    return [GraphEngine(module, chosen, config, shape, torch.device(device)) for device in ("cpu", "cuda")]


def images(n, size, dtype=torch.float64):
    noise = torch.randn(n, 3, size // 8, size // 8, dtype=dtype, generator=torch.Generator().manual_seed(1))
    return nn.functional.interpolate(noise, size=(size, size), mode="bilinear")


def close(ours, theirs, tolerance):
    left, right = ours.cpu().double(), theirs.cpu().double()
    assert left.shape == right.shape
    assert (left - right).abs().max() <= tolerance * max(float(right.abs().max()), 1e-300)


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_are_the_cpus(name):
    on_cpu, on_cuda = pair(name)
    batch, labels = images(3, SIZE), torch.tensor([3, 5, -1])
    expected, found = on_cpu.score(batch, labels), on_cuda.score(batch, labels)
    close(found.logits, expected.logits, 1e-11)
    assert torch.equal(found.targets.cpu(), expected.targets)
    for layer in on_cpu.layer_names:
        theirs, ours = expected.layers[layer], found.layers[layer]
        close(ours.relevance, theirs.relevance, 1e-9)
        close(ours.activation, theirs.activation, 1e-9)
        same = (ours.activation_neuron.cpu() == theirs.activation_neuron) | (theirs.activation < 1e-9)
        assert same.double().mean() > 0.99  # where two places hold the maximum, the last digit decides


@pytest.mark.parametrize("name", NETWORKS)
def test_an_explanation_is_the_cpus(name):
    on_cpu, on_cuda = pair(name)
    photo, top = images(1, SIZE), on_cpu.layer_names[-1]
    heatmap, layers = on_cpu.attribute(photo, 3)
    found, ours = on_cuda.attribute(photo, 3)
    close(found, heatmap, 1e-9)
    for layer, theirs in layers.items():
        close(ours[layer].relevance, theirs.relevance, 1e-9)
        assert ours[layer].split.absolute == pytest.approx(theirs.split.absolute, rel=1e-9)
    concepts = [(top, 0), (top, 7), (on_cpu.layer_names[1], 2)]
    lower = {top: on_cpu.layer_names[1:2]}
    expected = on_cpu.attribute_concepts(photo, 3, concepts, lower)
    for one, other in zip(on_cuda.attribute_concepts(photo, 3, concepts, lower), expected, strict=True):
        close(one.heatmap, other.heatmap, 1e-9)
        for layer, relevance in other.lower_relevance.items():
            close(one.lower_relevance[layer], relevance, 1e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_reference_heatmaps_are_the_cpus(name):
    on_cpu, on_cuda = pair(name)
    batch = images(2, SIZE)
    asked = [
        ReferenceRequest(image, layer, channel, neuron, target)
        for image in (0, 1)
        for layer in on_cpu.layer_names
        for channel, neuron, target in ((0, 1, None), (3, None, None), (5, None, 3))
    ]
    close(on_cuda.reference_heatmaps(batch, asked), on_cpu.reference_heatmaps(batch, asked), 1e-9)


@pytest.mark.parametrize("name", ["vgg16", "mobilenet_v2"])
def test_switching_channels_off_is_the_cpus(name):
    on_cpu, on_cuda = pair(name)
    batch, layer = images(2, SIZE), on_cpu.layer_names[-1]
    close(on_cuda.logits(batch), on_cpu.logits(batch), 1e-11)
    close(on_cuda.intervene(batch, layer).logits, on_cpu.intervene(batch, layer).logits, 1e-11)


@pytest.mark.parametrize("name", ["vgg16", "resnet18"])
def test_float32_is_near_and_tf32_is_told(name):
    on_cpu, on_cuda = pair(name, "float32")
    batch, labels = images(3, SIZE, torch.float32), torch.tensor([3, 5, 7])
    expected, found = on_cpu.score(batch, labels), on_cuda.score(batch, labels)
    close(found.logits, expected.logits, 1e-4)
    for layer in on_cpu.layer_names:
        close(found.layers[layer].relevance, expected.layers[layer].relevance, 1e-3)
    assert on_cuda.prove(batch, found.logits) < 1e-4


@pytest.mark.parametrize("name", ["vgg16", "densenet121"])
def test_relevance_is_conserved_on_the_device(name):
    on_cpu, on_cuda = pair(name)
    photo = images(1, SIZE)
    expected, found = on_cpu.conserve(photo, 3, 0), on_cuda.conserve(photo.cuda(), 3, 0)
    assert set(found.operations) == set(expected.operations)
    assert found.logits == pytest.approx(expected.logits, rel=1e-9)


def test_many_requests_of_one_image_are_the_cpus():
    """They go together through whole frames there, which nothing but the speed may show."""
    on_cpu, on_cuda = pair("vgg16")
    batch, layer = images(2, SIZE), on_cpu.layer_names[-1]
    asked = [ReferenceRequest(0, layer, channel, channel % 16) for channel in range(12)]
    assert on_cuda._crowded(asked) == {0}
    close(on_cuda.reference_heatmaps(batch, asked), on_cpu.reference_heatmaps(batch, asked), 1e-9)
