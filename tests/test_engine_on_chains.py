"""On chains of layers the engine gives what zennit-crp gives."""

import copy
from pathlib import Path

import pytest
import torch
from crp.attribution import CondAttribution
from crp.concepts import ChannelConcept
from safetensors.torch import load_file
from torch import nn
from torchvision.models import alexnet, vgg11, vgg16, vgg16_bn, vgg19
from torchvision.models.vgg import make_layers
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import EpsilonPlus, EpsilonPlusFlat

from precompute.agreement import peer
from precompute.config import RelevanceConfig
from precompute.errors import ModelError
from precompute.relevance import engine as engine_module
from precompute.relevance import operations
from precompute.relevance.engine import GraphEngine
from precompute.relevance.operations import Convolution
from precompute.relevance.protocol import ReferenceRequest
from tests import nets

CPU = torch.device("cpu")
DOUBLE = RelevanceConfig(precision="float64", activation="sum")
SHARED = Path(__file__).parents[2] / "shared"
COMPOSITES = {"EpsilonPlusFlat": EpsilonPlusFlat, "EpsilonPlus": EpsilonPlus}


def close(left, right, tolerance=1e-10):
    assert left.shape == right.shape
    assert (left - right).abs().max() <= tolerance * max(right.abs().max(), 1e-300)


def photos(n, size=16, seed=1):
    return torch.randn(n, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def engine_for(module, config=DOUBLE, size=16, layers=None):
    return GraphEngine(module, layers or nets.layer_names(module), config, (3, size, size), CPU)


def peer_composite(config=DOUBLE):
    return COMPOSITES[config.composite](canonizers=[SequentialMergeBatchNorm()])


def peer_maps(module, images, targets, layers, config=DOUBLE):
    conditions = [{"y": [int(target)]} for target in targets]
    return CondAttribution(peer.with_exact_norms(module))(
        images.clone().requires_grad_(), conditions, peer_composite(config), record_layer=list(layers),
        exclude_parallel=False,
    )  # fmt: skip


def check_scores(module, images, labels, config=DOUBLE, layers=None):
    layers = layers or nets.layer_names(module)
    found = engine_for(module, config, images.shape[2], layers).score(images, labels)
    theirs = peer_maps(module, images, labels, layers, config)
    close(found.logits, theirs.prediction.detach())
    for name in layers:
        pairs = (
            (found.layers[name].relevance, found.layers[name].relevance_neuron, theirs.relevances[name]),
            (found.layers[name].activation, found.layers[name].activation_neuron, theirs.activations[name].detach()),
        )
        for score, neuron, maps in pairs:
            order, sorted_score, sorted_neuron = ChannelConcept().reference_sampling(
                maps.contiguous(), name, config.max_target, config.normalised
            )
            close(score.gather(0, order), sorted_score)
            differ = neuron.gather(0, order) != sorted_neuron
            flat = maps.flatten(2) if maps.dim() == 4 else maps[..., None]
            ours, largest = flat.gather(2, neuron[..., None]).squeeze(2), flat.amax(2)
            # where float noise decides between two neurons, both hold the maximum
            assert not differ.any() or ((largest - ours).abs() <= 1e-10 * flat.abs().amax()).all()


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("factory", nets.TINY)
def test_scores_equal_the_peer_on_every_kind_of_step(factory, composite):
    config = RelevanceConfig(precision="float64", activation="sum", composite=composite)
    check_scores(nets.tiny(factory), photos(3), torch.tensor([0, 1, 4]), config)


@pytest.mark.parametrize("max_target", ["sum", "max"])
@pytest.mark.parametrize("normalised", [True, False])
def test_scores_equal_the_peer_in_every_form(max_target, normalised):
    config = RelevanceConfig(precision="float64", activation="sum", max_target=max_target, normalised=normalised)
    check_scores(nets.tiny(nets.normalised), photos(4), torch.tensor([0, 1, 4, 2]), config)


@pytest.mark.parametrize(
    "factory",
    [
        vgg11,
        vgg16_bn,
        alexnet,
        pytest.param(vgg16, marks=pytest.mark.slow),
        pytest.param(vgg19, marks=pytest.mark.slow),
    ],
)
def test_scores_equal_the_peer_on_torchvision_models(factory):
    torch.manual_seed(0)
    module = nets.randomise(nets.with_narrow_head(factory, 10))
    layers = [name for name in nets.layer_names(module) if name.startswith("features")]
    check_scores(module, photos(2, 64), torch.tensor([3, 7]), layers=layers)


def cifar_network():
    weights = SHARED / "models" / "vgg16-cifar10.safetensors"
    if not weights.exists():
        pytest.skip("shared/models/vgg16-cifar10.safetensors is not there")

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            plan = [16, 16, "M", 32, 32, "M", 64, 64, 64, "M", 128, 128, 128, "M", 128, 128, 128, "M"]
            self.features, self.classifier = make_layers(plan, batch_norm=True), nn.Linear(128, 10)

        def forward(self, images):
            return self.classifier(self.features(images).flatten(1))

    network = Network()
    network.load_state_dict(load_file(weights))
    return network.double().eval().requires_grad_(False)


def test_scores_equal_the_peer_on_the_cifar_network():
    check_scores(cifar_network(), photos(4, 32), torch.tensor([0, 1, 2, 3]))


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("factory", nets.TINY)
def test_the_heatmap_equals_the_peer(factory, composite):
    config, module, images = (
        RelevanceConfig(precision="float64", activation="sum", composite=composite),
        nets.tiny(factory),
        photos(1),
    )
    layers = nets.layer_names(module)
    heatmap, found = engine_for(module, config).attribute(images, 2)
    theirs = peer_maps(module, images, [2], layers, config)
    close(heatmap, theirs.heatmap[0])
    for name in layers:
        close(found[name].relevance, theirs.relevances[name][0].unflatten(0, (-1, 1)).flatten(1).sum(1))
        close(found[name].activation, theirs.activations[name].detach()[0].unflatten(0, (-1, 1)).flatten(1).sum(1))


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("factory", nets.TINY)
def test_reference_heatmaps_equal_the_peer(factory, composite):
    config, module, images = (
        RelevanceConfig(precision="float64", activation="sum", composite=composite),
        nets.tiny(factory),
        photos(3),
    )
    engine = engine_for(module, config)
    sizes = {
        name: maps[0, 0].numel()
        for name, maps in peer_maps(module, images, [0] * 3, engine.layer_names).activations.items()
    }
    requests = [
        ReferenceRequest(image, name, channel, neuron % sizes[name] if neuron is not None else None)
        for name in engine.layer_names
        for image, channel, neuron in ((2, 1, 0), (0, 0, None), (0, 1, 10**6 - 1), (1, 0, 37), (0, 1, 5), (1, 2, None))
    ]
    found = engine.reference_heatmaps(images, requests)
    for request, heatmap in zip(requests, found, strict=True):
        close(heatmap, peer_reference(module, images, request, config))


def peer_reference(module, images, request, config=DOUBLE):
    image = images[request.image : request.image + 1].clone().requires_grad_()
    attribution = CondAttribution(peer.with_exact_norms(module))
    whole = request.neuron is None
    condition = {request.layer: [request.channel] if whole else {request.channel: [request.neuron]}}
    mask = ChannelConcept.mask if whole else ChannelConcept.mask_rf
    result = attribution(
        image, [condition], peer_composite(config), mask_map=mask, start_layer=request.layer, exclude_parallel=False
    )
    return result.heatmap[0]


def test_reference_heatmaps_from_the_output_equal_the_peer():
    module, images = nets.tiny(nets.plain), photos(2)
    requests = [
        ReferenceRequest(1, "2", 3, target=4), ReferenceRequest(0, "5", 3, target=1), ReferenceRequest(1, "5", 2),
        ReferenceRequest(1, "0", 2, target=0), ReferenceRequest(1, "5", 1, target=4),
    ]  # fmt: skip
    found = engine_for(module).reference_heatmaps(images, requests)
    for request, heatmap in zip(requests, found, strict=True):
        if request.target is not None:
            image = images[request.image : request.image + 1].clone().requires_grad_()
            condition = {"y": [request.target], request.layer: [request.channel]}
            close(
                heatmap, CondAttribution(peer.with_exact_norms(module))(image, [condition], peer_composite()).heatmap[0]
            )


def test_conditional_attribution_equals_the_peer():
    module, image = nets.tiny(nets.normalised), photos(1)
    concepts = [("3", 1), ("0", 2), ("8", 3), ("3", 0)]
    inputs = {"3": ["0"], "8": ["3", "0"]}
    found = engine_for(module).attribute_concepts(image, 2, concepts, inputs)
    for (layer, channel), ours in zip(concepts, found, strict=True):
        lower = inputs.get(layer, [])
        theirs = CondAttribution(peer.with_exact_norms(module))(
            image.clone().requires_grad_(), [{"y": [2], layer: [channel]}], peer_composite(), record_layer=lower
        )
        close(ours.heatmap, theirs.heatmap[0])
        assert list(ours.lower_relevance) == lower
        for name in lower:
            close(ours.lower_relevance[name], theirs.relevances[name][0].sum((1, 2)))


def test_relevance_is_conserved_without_biases():
    module, image = nets.tiny(nets.plain), photos(1)
    for part in module:
        if getattr(part, "bias", None) is not None:
            part.bias.zero_()
    engine = engine_for(module)
    logits = engine.logits(image)[0]
    target = int(logits.abs().argmax())
    heatmap, layers = engine.attribute(image, target)
    for found in layers.values():
        assert abs(found.relevance.sum() / logits[target] - 1) < 1e-3
    assert abs(heatmap.sum() / logits[target] - 1) < 1e-3


def test_the_batch_does_not_matter():
    engine, images, labels = engine_for(nets.tiny(nets.plain)), photos(5), torch.arange(5)
    whole = engine.score(images, labels)
    for part in (slice(0, 4), slice(4, 5), slice(1, 3)):
        found = engine.score(images[part], labels[part])
        for name in engine.layer_names:
            close(found.layers[name].relevance, whole.layers[name].relevance[part], 1e-13)
            assert torch.equal(found.layers[name].activation_neuron, whole.layers[name].activation_neuron[part])


def test_large_batches_are_scored_in_equal_pieces(monkeypatch):
    engine, images, labels = engine_for(nets.tiny(nets.plain)), photos(5), torch.arange(5)
    together, sizes = engine.score(images, labels), []
    plain = GraphEngine._score_at_once
    monkeypatch.setattr(engine_module, "BATCH_ELEMENTS", 2 * engine._largest_map)
    monkeypatch.setattr(
        GraphEngine, "_score_at_once", lambda self, part, own: sizes.append(len(part)) or plain(self, part, own)
    )
    apart = engine.score(images, labels)
    assert sizes == [2, 2, 1]
    assert torch.equal(apart.targets, together.targets)
    close(apart.logits, together.logits, 1e-13)
    for name in engine.layer_names:
        close(apart.layers[name].relevance, together.layers[name].relevance, 1e-13)
        assert torch.equal(apart.layers[name].activation_neuron, together.layers[name].activation_neuron)


@pytest.mark.parametrize("factory", [nets.plain, nets.strided, nets.unrectified])
def test_images_whose_backward_pass_runs_in_pieces_score_the_same(factory, monkeypatch):
    module, images, labels = nets.tiny(factory), photos(5), torch.arange(5) % 4
    together = engine_for(module).score(images, labels)
    calls = []
    plain = Convolution._backward_piece
    monkeypatch.setattr(operations, "PIECE_ELEMENTS", {"cpu": 1})
    monkeypatch.setattr(
        Convolution,
        "_backward_piece",
        lambda rule, values, total, relevance: calls.append(len(values)) or plain(rule, values, total, relevance),
    )
    in_pieces = engine_for(module).score(images, labels)
    assert set(calls) == {1}
    for name, layer in together.layers.items():
        close(layer.relevance, in_pieces.layers[name].relevance, 1e-13)
        assert torch.equal(layer.activation, in_pieces.layers[name].activation)


def test_a_selection_of_layers_changes_nothing_but_the_work():
    module, images, labels = nets.tiny(nets.plain), photos(2), torch.tensor([0, 3])
    few, many = (engine_for(module, layers=names).score(images, labels) for names in (["5"], None))
    assert list(few.layers) == ["5"]
    assert torch.equal(few.layers["5"].relevance, many.layers["5"].relevance)


def test_targets_are_labels_predictions_or_predictions_where_there_is_no_label():
    module, images, labels = nets.tiny(nets.plain), photos(3), torch.tensor([0, -1, 2])
    found = engine_for(module).score(images, labels)
    prediction = found.logits.argmax(1)
    assert found.targets.tolist() == [0, int(prediction[1]), 2]
    config = RelevanceConfig(precision="float64", target="prediction")
    assert torch.equal(engine_for(module, config).score(images, labels).targets, prediction)


def test_the_lowest_neuron_wins_among_equals():
    module = nets.tiny(nets.plain)
    found = engine_for(module, layers=["0"]).score(torch.zeros(1, 3, 16, 16), torch.tensor([0]))
    # on a constant image only the border differs, so every maximum is shared
    maps = module[0](torch.zeros(1, 3, 16, 16, dtype=torch.float64)).flatten(2)
    first = [int((channel == channel.max()).nonzero()[0]) for channel in maps[0]]
    assert found.layers["0"].activation_neuron[0].tolist() == first


def test_neither_the_module_nor_the_images_are_changed():
    module, images = nets.tiny(nets.normalised), photos(2)
    before, pixels = copy.deepcopy(module.state_dict()), images.clone()
    engine = engine_for(module)
    engine.score(images, torch.tensor([0, 1]))
    engine.attribute(images[:1], 0)
    assert torch.equal(images, pixels)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("tf32", 1e-3), ("bf16", 0.2)])
def test_lower_precisions_stay_near_float64(precision, tolerance):
    module, images, labels = nets.tiny(nets.plain), photos(4), torch.tensor([0, 1, 2, 3])
    exact = engine_for(module).score(images, labels)
    found = engine_for(module, RelevanceConfig(precision=precision, activation="sum")).score(images, labels)
    assert found.logits.dtype == torch.float32
    for name in ("2", "5"):
        assert found.layers[name].activation.dtype == torch.float32
        close(found.layers[name].activation.double(), exact.layers[name].activation, tolerance)


def test_bad_layers_and_sizes_are_refused():
    module = nets.tiny(nets.plain)
    with pytest.raises(ModelError, match=r"no layer '13'"):
        engine_for(module, layers=["13"])
    with pytest.raises(ModelError, match="the engine was made for"):
        engine_for(module).logits(photos(1, 20))
    with pytest.raises(ModelError, match="was not selected"):
        engine_for(module, layers=["0"]).reference_heatmaps(photos(1), [ReferenceRequest(0, "2", 0)])


class Activated(nn.Module):
    """Layers that a ReLU, a clamp, a SiLU and nothing read."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Conv2d(3 if i == 0 else 4, 4, 3, padding=1) for i in range(4))
        self.relu, self.silu = nn.ReLU(inplace=True), nn.SiLU()
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))

    def forward(self, images):
        values = self.silu(self.c(self.b(self.relu(self.a(images))).clamp(0, 0.1)))
        return self.head(self.d(values))


def test_an_activation_is_the_largest_value_behind_the_function_that_reads_the_layer():
    module, images, labels = nets.tiny(Activated), photos(4), torch.tensor([0, 1, 2, 3])
    with torch.no_grad():
        module.a.bias[0] = -100.0  # never fires
    config = RelevanceConfig(precision="float64", normalised=False)
    found = GraphEngine(module, list("abcd"), config, (3, 16, 16), torch.device("cpu")).score(images, labels).layers
    with torch.no_grad():
        a = module.a.double()(images.double()).relu()
        b = module.b.double()(a).clamp(0, 0.1)
        c = torch.nn.functional.silu(module.c.double()(b))
        d = module.d.double()(c)
    for name, values in zip("abcd", (a, b, c, d), strict=True):
        close(found[name].activation, values.flatten(2).amax(2))
    assert (found["a"].activation[:, 0] == 0).all()  # silent: what is never above zero has no reference image
    assert torch.equal(found["c"].activation_neuron, c.flatten(2).argmax(2))
