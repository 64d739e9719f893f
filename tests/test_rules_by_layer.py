"""Rules chosen by layer, and gates that take half, against zennit and against autograd written out by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from zennit.composites import EpsilonPlusFlat
from zennit.rules import Epsilon, Flat, ZPlus

from precompute.config import RelevanceConfig, load_config
from precompute.errors import ConfigError, UnsupportedModel
from precompute.network.folding import simplify
from precompute.network.graph import capture
from precompute.provenance import config_digest, config_record
from precompute.relevance.assignment import assign
from precompute.relevance.engine import GraphEngine
from precompute.relevance.proof import check_conservation, measure_conservation

ZENNIT = {"epsilon": Epsilon, "zplus": ZPlus, "flat": Flat}
SHAPE = (3, 16, 16)


def chain():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 7), nn.Tanh(),
        nn.Linear(7, 5),
    )  # fmt: skip
    return net.double().eval().requires_grad_(False)


def zennit_heatmap(net, image, target, rules):
    """Compute by zennit's own composite, with other rules where a module's name is among them."""
    made = EpsilonPlusFlat()
    usual = made.module_map

    def chosen(ctx, name, module):
        found = usual(ctx, name, module)  # called in any case: it counts which layer is the first
        return rules.get(name, found)

    made.module_map = chosen
    image = image.clone().requires_grad_()
    with made.context(net) as hooked:
        logits = hooked(image)
        start = torch.zeros_like(logits)
        start[0, target] = logits[0, target].detach()
        return torch.autograd.grad(logits, image, start)[0].sum(1)[0]


MAPS = [
    {"0": "zplus"},
    {"0": "epsilon", "2": "epsilon", "4": "epsilon"},
    {"2": "flat", "8": "zplus"},
    {"8": "flat", "10": "zplus", "0": "flat"},
    {"*": "epsilon"},
    {"*": "zplus", "0": "flat"},
    {"[24]": "epsilon"},
]


@pytest.mark.parametrize("rules", MAPS, ids=str)
def test_a_map_of_rules_gives_what_zennit_gives_with_the_same_map(rules):
    net, image = chain(), torch.randn(1, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    names = [name for name, part in net.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    import fnmatch

    theirs = {}
    for pattern, rule in rules.items():
        for name in names:
            if fnmatch.fnmatchcase(name, pattern) and name not in theirs | {k: 0 for k in rules if k != pattern}:
                theirs[name] = ZENNIT[rule]()
    expected = zennit_heatmap(net, image, 3, theirs)
    config = RelevanceConfig(precision="float64", rules=rules)
    engine = GraphEngine(net, ["2"], config, SHAPE, torch.device("cpu"))
    found, layers = engine.attribute(image, 3)
    assert (found - expected).abs().max() <= 1e-9 * expected.abs().max()
    usual = zennit_heatmap(net, image, 3, {})
    assert (usual - expected).abs().max() > 1e-3 * expected.abs().max(), "the map changes something"
    assert abs(layers["2"].split.residual) <= 1e-12 * max(layers["2"].split.absolute, 1.0)
    graph = simplify(capture(net, SHAPE))
    check_conservation(measure_conservation(graph, image, rules=rules))
    engine.conserve(image, 3, 0)


def test_a_layers_heatmap_on_windows_goes_by_its_rules_too():
    from precompute.relevance.protocol import ReferenceRequest

    net, image = chain(), torch.randn(1, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    config = RelevanceConfig(precision="float64", rules={"*": "epsilon"})
    engine = GraphEngine(net, ["4"], config, SHAPE, torch.device("cpu"))
    assert engine._windows.geometry.covers(engine._layers["4"].values[0])
    found = engine.reference_heatmaps(image, [ReferenceRequest(0, "4", 3, 7)])[0]
    given = image.clone().requires_grad_()
    activation = net[:5](given)[0, 3].flatten()[7]
    expected = (torch.autograd.grad(activation, given)[0] * image).sum(1)[0]
    # Epsilon without rectifiers' kinks is gradient x input, but for the stabilisers
    assert (found - expected).abs().max() <= 1e-3 * expected.abs().max()


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"features.0": "flat"}, "matches no convolution or linear layer"),
        ({"1": "flat"}, "matches no convolution or linear layer"),
        ({"[02]": "flat", "[24]": "zplus"}, "gets 'flat' from '\\[02\\]' and 'zplus'"),
    ],
)
def test_a_pattern_without_a_layer_and_two_that_contradict_are_refused(rules, said):
    graph = simplify(capture(chain(), SHAPE))
    with pytest.raises(ConfigError, match=said):
        assign(graph, rules=rules)
    assert assign(graph, rules={"[02]": "flat", "2": "zplus", "[24]": "flat"}).count_rules() == {
        "flat": 2, "zplus": 1, "epsilon": 2,
    }  # fmt: skip


def test_the_nearest_names_are_told():
    net = nn.Sequential()
    net.add_module("features", chain()[:5])
    net.add_module("end", nn.Flatten())
    with pytest.raises(ConfigError, match=r"'featrues\.0' matches no .*the nearest: features\.0"):
        assign(simplify(capture(net.double(), SHAPE)), rules={"featrues.0": "flat"})


class Gated(nn.Module):
    """A squeeze-excite gate written out, and what comes behind it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.stem, self.squeeze, self.expand = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 3, 1), nn.Conv2d(3, 6, 1)
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        x = F.relu(self.stem(x))
        gate = torch.sigmoid(self.expand(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))
        return self.fc((x * gate).mean((2, 3)))


def halves_by_hand(net, image, target):
    """Follow relevance from the logit to the stem's output, each rule written out once more."""

    def stab(z):
        return torch.where(z < 0, z - 1e-6, z + 1e-6)

    def zplus(x, conv, r):
        weight, bias = conv.weight[:, :, 0, 0].clamp(min=0), conv.bias.clamp(min=0)
        assert (x >= 0).all()
        return x * ((r / stab(x @ weight.T + bias)) @ weight)

    x = F.relu(net.stem(image))
    pooled = x.mean((2, 3))
    hidden = F.relu(F.linear(pooled, net.squeeze.weight[:, :, 0, 0], net.squeeze.bias))
    gate = torch.sigmoid(F.linear(hidden, net.expand.weight[:, :, 0, 0], net.expand.bias))
    product = x * gate[:, :, None, None]
    means = product.mean((2, 3))
    logits = net.fc(means)
    r = torch.zeros_like(logits)
    r[0, target] = logits[0, target]
    r = means * ((r / stab(logits)) @ net.fc.weight)
    n_places = x[0, 0].numel()
    r = product * (r / stab(means) / n_places)[:, :, None, None]
    to_gate = zplus(pooled, net.squeeze, zplus(hidden, net.expand, 0.5 * r.sum((2, 3))))
    return 0.5 * r + x * (to_gate / stab(pooled) / n_places)[:, :, None, None]


def test_gates_take_half_where_the_config_says_so():
    net = Gated().double().eval().requires_grad_(False)
    image = torch.randn(1, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    expected = halves_by_hand(net, image, 1).sum((2, 3))[0]
    found = {}
    for gates in ("half", "signal"):
        config = RelevanceConfig(precision="float64", gates=gates)
        engine = GraphEngine(net, ["stem"], config, SHAPE, torch.device("cpu"))
        found[gates] = engine.attribute(image, 1)[1]["stem"].relevance
        engine.conserve(image, 1, 0)
    assert (found["half"] - expected).abs().max() <= 1e-9 * expected.abs().max()
    assert (found["signal"] - expected).abs().max() > 1e-3 * expected.abs().max()


def test_layers_inside_a_gate_can_be_mined_where_gates_take_relevance():
    net = Gated().double().eval().requires_grad_(False)
    config = RelevanceConfig(precision="float64", gates="half")
    engine = GraphEngine(net, ["squeeze"], config, SHAPE, torch.device("cpu"))
    image = torch.randn(1, *SHAPE, dtype=torch.float64)
    split = engine.attribute(image, 1)[1]["squeeze"].split
    assert abs(split.residual) <= 1e-12 * max(1.0, split.absolute)
    assert split.beside, "the signal runs beside the gate"


class Squashed(nn.Module):
    """A sigmoid whose value is a gate and a signal at once."""

    def __init__(self, kind):
        super().__init__()
        self.stem, self.gate, self.last = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 1), nn.Conv2d(6, 4, 1)
        self.kind = kind

    def forward(self, x):
        x = F.relu(self.stem(x))
        gate = self.gate(x).softmax(1) if self.kind == "softmax" else self.gate(x).sigmoid()
        y = x * gate
        return self.last(y + 2 * gate if self.kind == "both" else y).mean((2, 3))


@pytest.mark.parametrize(("kind", "said"), [("both", "squashes the signal itself"), ("softmax", 'gates = "signal"')])
def test_half_for_gates_is_refused_where_it_has_no_meaning(kind, said):
    with pytest.raises(UnsupportedModel, match=said):
        assign(simplify(capture(Squashed(kind), SHAPE)), gates="half")


def test_rules_and_gates_are_in_the_digest_and_published(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(
        'name = "a"\n[relevance]\ngates = "half"\n[relevance.rules]\n"features.0" = "flat"\n"b*" = "epsilon"\n'
    )
    config = load_config(path, [])
    assert config.relevance.rules == {"features.0": "flat", "b*": "epsilon"}
    assert config_record(config)["relevance"]["rules"] == {"features.0": "flat", "b*": "epsilon"}
    path.write_text('name = "a"\n')
    plain = load_config(path, [])
    assert config_digest(plain, "relevance") != config_digest(config, "relevance")
    path.write_text('name = "a"\n[relevance.rules]\n"features.0" = "gamma"\n')
    with pytest.raises(ConfigError, match=r"relevance\.rules"):
        load_config(path, [])
    path.write_text('name = "a"\n[relevance.rules]\n"<script>" = "flat"\n')
    with pytest.raises(ConfigError, match=r"relevance\.rules"):
        load_config(path, [])
