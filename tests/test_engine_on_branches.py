"""On networks that branch and join the engine gives what zennit-crp gives."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet18, squeezenet1_0

from precompute.agreement import peer
from precompute.config import RelevanceConfig
from precompute.relevance.engine import GraphEngine
from precompute.relevance.protocol import ReferenceRequest

CPU = torch.device("cpu")
DOUBLE = RelevanceConfig(precision="float64", activation="sum", shares="layer")


class Branches(nn.Module):
    """A small net with parallel convs, as SqueezeNet's Fire modules have them, and merged batch norm."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2))
        self.left, self.right = nn.Conv2d(6, 4, 1), nn.Conv2d(6, 5, 3, padding=1)
        self.relu = nn.ReLU()
        self.head = nn.Sequential(
            nn.Conv2d(9, 7, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(28, 6)
        )

    def forward(self, images):
        stem = self.stem(images)
        return self.head(self.relu(torch.cat([self.left(stem), self.right(stem)], 1)))


LAYERS = ("stem.0", "left", "right", "head.0")


@pytest.fixture
def module():
    torch.manual_seed(0)
    module = Branches().double().eval()
    module.stem[1].running_mean.normal_()
    module.stem[1].running_var.uniform_(0.5, 2)
    return module


@pytest.fixture
def images():
    return torch.randn(6, 3, 18, 18, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


LABELS = torch.tensor([0, 1, 2, 3, 4, 5])


def close(left, right, tolerance=1e-10):
    assert left.shape == right.shape
    assert (left - right).abs().max() <= tolerance * max(right.abs().max(), 1e-30)


@pytest.mark.parametrize("max_target", ["sum", "max"])
@pytest.mark.parametrize("normalised", [True, False])
def test_scores_and_neurons_equal_the_peer(module, images, tmp_path, max_target, normalised):
    config = RelevanceConfig(
        precision="float64", activation="sum", shares="layer", max_target=max_target, normalised=normalised
    )
    visualization = peer.run(
        peer.with_exact_norms(module), images, LABELS, LAYERS, tmp_path, abs_norm=normalised, max_target=max_target
    )
    scores = GraphEngine(module, LAYERS, config, (3, *images.shape[2:]), CPU).score(images, LABELS)
    for name in LAYERS:
        for ranking in ("relmax", "actmax"):
            samples, values, neurons = map(torch.from_numpy, peer.table(visualization, name, ranking))
            found = scores.layers[name]
            ours = found.relevance if ranking == "relmax" else found.activation
            neuron = found.relevance_neuron if ranking == "relmax" else found.activation_neuron
            close(ours.gather(0, samples), values)
            away_from_zero = values != 0
            assert torch.equal(neuron.gather(0, samples)[away_from_zero], neurons[away_from_zero])


@pytest.mark.parametrize("rf", [True, False])
def test_reference_heatmaps_equal_the_peer(module, images, tmp_path, rf):
    visualization = peer.run(peer.with_exact_norms(module), images, LABELS, LAYERS, tmp_path)
    engine = GraphEngine(module, LAYERS, DOUBLE, (3, *images.shape[2:]), CPU)
    for name in LAYERS:
        for ranking in ("relmax", "actmax"):
            samples, _, neurons = peer.table(visualization, name, ranking)
            requests = [
                ReferenceRequest(int(samples[rank, 2]), name, 2, int(neurons[rank, 2]) if rf else None)
                for rank in range(3)
            ]
            theirs = peer.reference_heatmaps(visualization, name, 2, n=3, rf=rf, ranking=ranking)
            close(engine.reference_heatmaps(images, requests), theirs)


def test_conditional_attribution_equals_the_peer(module, images):
    engine = GraphEngine(module, LAYERS, DOUBLE, (3, *images.shape[2:]), CPU)
    concepts = [("right", 3), ("head.0", 1), ("right", 0)]
    found = engine.attribute_concepts(images[:1], 2, concepts, {"right": ("stem.0",), "head.0": ("left", "right")})
    for (layer, channel), ours in zip(concepts, found, strict=True):
        lower = ["stem.0"] if layer == "right" else ["left", "right"]
        theirs = peer.attribution(peer.with_exact_norms(module))(
            images[:1].clone().requires_grad_(), [{"y": [2], layer: [channel]}], peer.composite(), record_layer=lower
        )
        close(ours.heatmap, theirs.heatmap[0])
        for name in lower:
            close(ours.lower_relevance[name], theirs.relevances[name][0].sum((1, 2)))


def test_a_request_from_the_output_is_the_conditional_heatmap(module, images):
    engine = GraphEngine(module, LAYERS, DOUBLE, (3, *images.shape[2:]), CPU)
    (conditional,) = engine.attribute_concepts(images[1:2], 4, [("right", 3)], {})
    heatmap = engine.reference_heatmaps(images, [ReferenceRequest(1, "right", 3, target=4)])[0]
    close(heatmap, conditional.heatmap)


def test_the_attribution_of_a_photo_equals_the_peer(module, images):
    heatmap, layers = GraphEngine(module, LAYERS, DOUBLE, (3, *images.shape[2:]), CPU).attribute(images[:1], 3)
    theirs = peer.attribution(peer.with_exact_norms(module))(
        images[:1].clone().requires_grad_(),
        [{"y": [3]}],
        peer.composite(),
        record_layer=list(LAYERS),
        exclude_parallel=False,
    )
    close(heatmap, theirs.heatmap[0])
    for name in LAYERS:
        close(layers[name].relevance, theirs.relevances[name][0].sum((1, 2)))
        close(layers[name].activation, theirs.activations[name][0].sum((1, 2)))


@pytest.mark.parametrize(
    ("factory", "residual", "names"),
    [
        (squeezenet1_0, False, ["features.3.expand1x1", "features.12.expand3x3"]),
        (resnet18, True, ["layer1.0.conv2", "layer4.1.conv2"]),
    ],
)
def test_torchvision_models_equal_the_peer(factory, residual, names, tmp_path):
    torch.manual_seed(0)
    module = factory().double().eval()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    labels = torch.tensor([3, 5])
    scores = GraphEngine(module, names, DOUBLE, (3, *images.shape[2:]), CPU).score(images, labels)
    visualization = peer.run(
        peer.with_exact_norms(module), images, labels, names, tmp_path, batch_size=2, residual=residual
    )
    for name in names:
        samples, values, _ = map(torch.from_numpy, peer.table(visualization, name, "relmax"))
        close(scores.layers[name].relevance.gather(0, samples), values)


def test_without_biases_relevance_is_conserved_only_if_they_are_left_out(images):
    torch.manual_seed(0)
    module = (
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(8 * 81, 4),
        )
        .double()
        .eval()
    )
    module[-1].requires_grad_(False).bias.zero_()
    for zero_params in (True, False):
        config = RelevanceConfig(precision="float64", activation="sum", shares="layer", zero_params=zero_params)
        engine = GraphEngine(module, ["0", "2"], config, (3, *images.shape[2:]), CPU)
        _, layers = engine.attribute(images[:1], 1)
        logit = engine.logits(images[:1])[0, 1]
        lost = (layers["0"].relevance.sum() - logit).abs() / logit.abs()
        assert (lost < 1e-3) == zero_params


def test_a_last_batch_of_one_and_any_batching_give_the_same(module, images):
    engine = GraphEngine(module, LAYERS, DOUBLE, (3, *images.shape[2:]), CPU)
    whole = engine.score(images, LABELS)
    for part in (images[:5], images[5:]):
        start = 0 if len(part) == 5 else 5
        found = engine.score(part, LABELS[start : start + len(part)])
        for name in LAYERS:
            close(found.layers[name].relevance, whole.layers[name].relevance[start : start + len(part)], 1e-13)


def test_samples_without_a_label_take_the_prediction(module, images):
    engine = GraphEngine(module, LAYERS, DOUBLE, (3, *images.shape[2:]), CPU)
    scores = engine.score(images, torch.full((6,), -1))
    assert torch.equal(scores.targets, scores.logits.argmax(-1))
