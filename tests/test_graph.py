"""What a model really executes is read as a graph, or refused with the operation named."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune
from torchvision.models.resnet import BasicBlock

from precompute.config import RelevanceConfig
from precompute.errors import ModelError, UnsupportedModel
from precompute.network.folding import simplify
from precompute.network.graph import capture
from precompute.network.layers import find_layers
from precompute.relevance.assignment import assign
from precompute.relevance.engine import GraphEngine
from precompute.relevance.proof import check_conservation, measure_conservation

SHAPE = (3, 16, 16)
DOUBLE = RelevanceConfig(precision="float64")
CPU = torch.device("cpu")


class Net(nn.Module):
    """Two convolutions and a head; `body` says what happens between them."""

    def __init__(self, body, **parts):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        for name, part in parts.items():
            setattr(self, name, part)
        self.fc = nn.Linear(6, 4)
        self.body = [body]

    def forward(self, x):
        return self.fc(self.body[0](self, x).mean((2, 3)))


def make(body, **parts):
    torch.manual_seed(0)
    net = Net(body, **parts).double().eval().requires_grad_(False)
    for part in net.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.3, 2.0)
            part.weight.uniform_(0.3, 2.0)
            part.bias.normal_(0, 0.3)
    return net


def images(n=3, channels=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, channels, 16, 16, dtype=torch.float64, generator=generator)


def plain(net, x):
    return F.relu(net.conv2(F.relu(net.conv1(x))))


def hooked(net):
    net.conv1.register_forward_hook(lambda part, given, made: made * 2 + 0.1)
    net.conv2.register_forward_pre_hook(lambda part, given: (given[0] * 0.5,))
    return net


def gated(net, x):
    x = F.relu(net.conv1(x))
    gate = torch.sigmoid(net.down(x.mean((2, 3), keepdim=True)))
    return F.relu(net.conv2(x * gate))


def expanded_gate(net, x):
    x = F.relu(net.conv1(x))
    gate = torch.sigmoid(x.mean((2, 3))).view(x.shape[0], -1, 1, 1)
    return net.conv2(x * gate.expand_as(x))


def spatial_attention(net, x):
    x = F.relu(net.conv1(x))
    seen = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
    return F.relu(net.conv2(x * torch.sigmoid(net.look(seen))))


def shuffled(net, x):
    x = F.relu(net.conv1(x))
    n, c, h, w = x.shape
    left, right = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w).chunk(2, 1)
    return F.relu(net.conv2(torch.cat([left, right.flip(1)], 1)))


def two_stems(net, x):
    return F.relu(net.conv2(torch.cat([F.relu(net.conv1(x)), F.relu(net.stem(x))], 1)))


def by_hand_norm(net, x):
    x = F.relu(net.conv1(x))
    mean = x.mean((1, 2, 3), keepdim=True)
    return F.relu(net.conv2((x - mean) / torch.sqrt(((x - mean) ** 2).mean((1, 2, 3), keepdim=True) + 1e-5)))


def in_place(net, x):
    y = F.relu(net.conv1(x), inplace=True)
    y += 0.5
    y *= 2
    z = net.conv2(y)
    z += y
    return F.relu_(z)


def sliced_in_place(net, x):
    y = F.relu(net.conv1(x)).clone()
    y[:, 0] = 0
    return F.relu(net.conv2(y))


def under_no_grad(net, x):
    with torch.no_grad():
        x = F.relu(net.conv1(x))
    return F.relu(net.conv2(x))


def swish(net, x):
    x = net.conv1(x)
    return net.conv2(x * x.sigmoid())


def attention(net, x):
    x = net.conv1(x)
    return F.scaled_dot_product_attention(x, x, x)


def pooled_every_way(net, x):
    x = F.leaky_relu(net.conv1(x), 0.1)
    x = F.max_pool2d(x, 3, 2, 1) + F.avg_pool2d(x, 3, 2, 1)
    x = torch.maximum(net.conv2(x), F.hardswish(x))
    return F.adaptive_max_pool2d(F.gelu(x), 1) + F.adaptive_avg_pool2d(F.silu(x), 1)


class Doubled(BasicBlock):
    """A residual block by its class, and twice that by its forward."""

    def forward(self, x):
        return super().forward(x) * 2


EXPLAINED = {
    "plain": lambda: make(plain),
    "a block of another forward": lambda: make(
        lambda net, x: net.conv2(net.block(net.conv1(x).relu())), block=Doubled(6, 6)
    ),
    "dropout of channels": lambda: make(
        lambda net, x: plain(net, net.drop(x.flatten(2)).view_as(x)), drop=nn.Dropout1d()
    ),
    "hooks": lambda: hooked(make(plain)),
    "gate": lambda: make(gated, down=nn.Conv2d(6, 6, 1)),
    "spatial attention": lambda: make(spatial_attention, look=nn.Conv2d(2, 1, 7, padding=3)),
    "channel shuffle": lambda: make(shuffled),
    "two stems": lambda: make(two_stems, stem=nn.Conv2d(3, 6, 1), conv2=nn.Conv2d(12, 6, 3)),
    "weight norm": lambda: make(plain, conv2=parametrizations.weight_norm(nn.Conv2d(6, 6, 3))),
    "spectral norm": lambda: make(plain, conv2=parametrizations.spectral_norm(nn.Conv2d(6, 6, 3))),
    "pruned": lambda: make(plain, conv2=prune.random_unstructured(nn.Conv2d(6, 6, 3), "weight", 0.4)),
    "layer norm by hand": lambda: make(by_hand_norm),
    "group norm": lambda: make(lambda net, x: F.relu(net.norm(net.conv1(x))), norm=nn.GroupNorm(3, 6)),
    "instance norm": lambda: make(
        lambda net, x: F.relu(net.norm(net.conv1(x))), norm=nn.InstanceNorm2d(6, affine=True)
    ),
    "norm before": lambda: make(
        lambda net, x: net.conv2(F.relu(net.norm(F.relu(net.conv1(x))))), norm=nn.BatchNorm2d(6)
    ),
    "local response": lambda: make(lambda net, x: net.conv2(F.local_response_norm(F.relu(net.conv1(x)), 3))),
    "in place": lambda: make(in_place),
    "reflect": lambda: make(plain, conv2=nn.Conv2d(6, 6, 3, padding=1, padding_mode="reflect")),
    "circular": lambda: make(plain, conv2=nn.Conv2d(6, 6, 3, padding=1, padding_mode="circular")),
    "even kernel, same": lambda: make(plain, conv2=nn.Conv2d(6, 6, 4, padding="same")),
    "dilated groups": lambda: make(plain, conv2=nn.Conv2d(6, 6, 3, dilation=2, groups=3, padding=2)),
    "under no_grad": lambda: make(under_no_grad),
    "pooling": lambda: make(pooled_every_way),
    "functional": lambda: make(lambda net, x: F.relu(F.conv2d(net.conv1(x).relu(), net.kernel)), kernel=kernel()),
    "reused": lambda: make(lambda net, x: net.conv2(net.conv2(net.conv1(x).relu()).relu()).relu()),
    "standardised": lambda: make(standardised),
    "upsampled": lambda: make(lambda net, x: net.conv2(F.interpolate(net.conv1(x).relu(), scale_factor=2))),
    "bilinear": lambda: make(
        lambda net, x: net.conv2(F.interpolate(net.conv1(x).relu(), scale_factor=2, mode="bilinear"))
    ),
    "bicubic": lambda: make(
        lambda net, x: net.conv2(F.interpolate(F.relu(net.conv1(x)), scale_factor=2, mode="bicubic"))
    ),
    "negative divisor": lambda: make(
        lambda net, x: net.conv2(F.avg_pool2d(F.relu(net.conv1(x)), 2, divisor_override=-3))
    ),
    "constants in forward": lambda: make(
        lambda net, x: plain(net, x * torch.tensor(0.5))[:, torch.tensor([1, 0, 2, 3, 4, 5])]
    ),
    "swish by hand": lambda: make(swish),
    "gate as a shape": lambda: make(expanded_gate),
    "shape of another": lambda: make(lambda net, x: plain(net, x.flatten(1).view_as(x))),
    "normalised input": lambda: make(lambda net, x: plain(net, (x - net.mean) / 0.2), mean=mean()),
    "channels last linear": lambda: make(
        lambda net, x: net.mlp(net.conv1(x).relu().permute(0, 2, 3, 1)).permute(0, 3, 1, 2), mlp=nn.Linear(6, 6)
    ),
}


def kernel():
    return nn.Parameter(torch.randn(6, 6, 3, 3, generator=torch.Generator().manual_seed(3)))


def mean():
    return nn.Parameter(torch.rand(3, 1, 1, generator=torch.Generator().manual_seed(3)))


def standardised(net, x):
    weight = net.conv2.weight
    weight = (weight - weight.mean((1, 2, 3), keepdim=True)) / weight.std((1, 2, 3), keepdim=True)
    return F.conv2d(F.relu(net.conv1(x)), weight, net.conv2.bias)


@pytest.mark.parametrize("name", EXPLAINED)
def test_every_way_to_write_a_network_is_explained(name):
    net = EXPLAINED[name]()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    graph = simplify(capture(net, SHAPE, name))
    engine = GraphEngine(net, [], DOUBLE, SHAPE, CPU, name=name, graph=graph)
    with torch.no_grad():
        own = net(images())
    assert (engine.logits(images()) - own).abs().max() < 1e-12
    heatmap, _ = engine.attribute(images(1), 2)
    assert heatmap.isfinite().all()
    assert heatmap.abs().max() > 0
    check_conservation(measure_conservation(graph, images(), name=name), name)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize("name", EXPLAINED)
def test_what_is_taken_to_be_nonnegative_is(name):
    made = assign(simplify(capture(EXPLAINED[name](), SHAPE, name)))
    values = {made.graph.input: images()}
    with torch.no_grad():
        for rule in made.rules:
            values[rule.node.name] = rule.forward(values, len(images()))
    negative = {key for key, value in values.items() if value.dtype.is_floating_point and value.min() < 0}
    assert not negative & made.facts.nonnegative


class Several(nn.Module):
    """Gives more than logits."""

    def __init__(self):
        super().__init__()
        self.net = make(plain)

    def forward(self, x):
        return {"logits": self.net(x)}


class Squeeze(nn.Module):
    """Drops every axis of one value, the images' too where there is one image."""

    def forward(self, x):
        return x.squeeze()


class Counting(Net):
    """Writes a buffer in its forward."""

    def forward(self, x):
        self.count += 1
        return super().forward(x) * self.count


def counting():
    torch.manual_seed(0)
    net = Counting(plain).double().eval().requires_grad_(False)
    net.register_buffer("count", torch.zeros(1, dtype=torch.float64))
    return net


REFUSED = {
    "dropout on": (lambda: make(lambda net, x: F.dropout(plain(net, x))), "'dropout', which depends on chance"),
    "noise": (
        lambda: make(lambda net, x: plain(net, x + torch.randn_like(x))),
        "'randn_like', which depends on chance",
    ),
    "if on data": (
        lambda: make(lambda net, x: plain(net, x) if x.sum() > 0 else plain(net, -x)),
        "cannot be read as a fixed graph",
    ),
    "batch statistics": (
        lambda: make(lambda net, x: net.norm(net.conv1(x)), norm=nn.BatchNorm2d(6, track_running_stats=False)),
        "statistics of the batch",
    ),
    "across images": (lambda: make(lambda net, x: plain(net, x / x.max())), "works across the images"),
    "rolled images": (lambda: make(lambda net, x: plain(net, x.roll(1, 0))), "works across the images"),
    "squashed signal": (lambda: make(lambda net, x: net.conv2(net.conv1(x).sigmoid())), "squashes the signal itself"),
    "two signals": (lambda: make(lambda net, x: net.conv1(x) * net.conv2(net.conv1(x))), "multiplies two values"),
    "square": (lambda: make(lambda net, x: net.conv2(net.conv1(x) ** 2)), "'pow', for which there is no rule"),
    "padding by one": (lambda: make(lambda net, x: net.conv2(F.pad(net.conv1(x), (1, 1), value=1.0))), "pads by 1.0"),
    "dynamic weight": (
        lambda: make(lambda net, x: F.conv2d(net.conv1(x), net.conv1(x)[0].mean() * net.conv2.weight)),
        "works across the images|weight that depends on the image",
    ),
    "transposed": (
        lambda: make(lambda net, x: net.up(net.conv1(x)), up=nn.ConvTranspose2d(6, 6, 2)),
        "'conv_transpose2d', for which there is no rule",
    ),
    "attention": (
        lambda: make(attention),
        r"attention \('scaled_dot_product_attention'\), for which there is no rule",
    ),
    "softmax at the end": (
        lambda: nn.Sequential(make(plain), nn.Softmax(1)).eval(),
        "squashes the signal itself, not a gate; where it ends the network, return the logits before it",
    ),
    "log-softmax at the end": (
        lambda: nn.Sequential(make(plain), nn.LogSoftmax(1)).eval(),
        "'log_softmax'.*where it ends the network, return the logits before it",
    ),
    "squeezed images": (
        lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.AdaptiveAvgPool2d(1), Squeeze(), nn.Linear(6, 4)).eval(),
        r"gives shape \(\d+,\) for one image.*squeeze\(\) of one image takes the axis of the images too",
    ),
    "several outputs": (lambda: Several().double().eval(), "gives dict, expected one tensor of logits"),
    "own buffer": (counting, "changes its own buffer 'count'"),
    "all in a gate": (
        lambda: make(lambda net, x: torch.ones_like(x[:, :1]) * net.conv1(x).sigmoid()),
        "no relevance reaches the image|squashes the signal",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_rule_is_refused_by_name(name):
    factory, message = REFUSED[name]
    with pytest.raises(UnsupportedModel, match=message) as refusal:
        assign(simplify(capture(factory(), SHAPE, "net")), name="net")
    assert str(refusal.value).startswith("net ")


class Attending(nn.Module):
    """A stem and one head of attention over its places, by hand or by torch's own."""

    def __init__(self, own):
        super().__init__()
        self.own, self.stem, self.fc = own, nn.Conv2d(3, 4, 6, stride=6), nn.Linear(4, 3)

    def forward(self, x):
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        if self.own:
            return self.fc(F.scaled_dot_product_attention(tokens, tokens, tokens).mean(1))
        weights = (tokens @ tokens.transpose(1, 2)).softmax(-1)
        return self.fc((F.dropout(weights, 0.1, training=False) @ tokens).mean(1))


@pytest.mark.parametrize("own", [True, False])
def test_transformers_are_refused_as_what_they_are(own):
    net = Attending(own).double().eval().requires_grad_(False)
    name = "scaled_dot_product_attention" if own else "(?:b?matmul|bmm)"
    with pytest.raises(UnsupportedModel, match=rf"computes attention \('{name}'\).*convolutional network"):
        assign(simplify(capture(net, SHAPE, "net")), name="net")


def test_what_a_refused_operation_stands_in_is_told():
    class Block(nn.Module):
        def forward(self, x):
            return x.abs()

    with pytest.raises(UnsupportedModel, match=r"module 'block' \(test_graph.py:\d+\) computes 'abs'"):
        assign(simplify(capture(make(lambda net, x: net.conv2(net.block(net.conv1(x))), block=Block()), SHAPE)))


def test_a_wrong_size_is_told_in_the_models_own_words():
    with pytest.raises(ModelError, match="fails on an input of shape"):
        capture(nn.Sequential(nn.Flatten(), nn.Linear(7, 2)).eval(), SHAPE)


def names(net):
    return list(find_layers(simplify(capture(net, SHAPE))))


def test_layers_have_names_whatever_computes_them():
    assert {"conv1", "conv2d", "fc"} <= set(names(EXPLAINED["functional"]()))
    assert {"conv1", "conv2@1", "conv2@2"} <= set(names(EXPLAINED["reused"]()))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)

        def forward(self, x):
            return F.relu(x + self.norm(self.conv(x)))

    found = find_layers(simplify(capture(make(lambda net, x: net.block(net.conv1(x)), block=Block()), SHAPE)))
    assert found["block.conv"].values == found["block.norm"].values
    assert found["block"].kind == "Block"
    assert found["block"].values == found["block.relu"].values
    assert found["block.add"].axis == 1


def test_concepts_may_be_the_sum_of_a_block_or_lie_last():
    net = EXPLAINED["channels last linear"]()
    engine = GraphEngine(net, ["mlp", "conv1"], DOUBLE, SHAPE, CPU)
    infos = {info.name: info for info in engine.describe()}
    assert (infos["mlp"].n_channels, infos["mlp"].height, infos["mlp"].width) == (6, 16, 16)
    scores = engine.score(images(), torch.tensor([0, 1, 2]))
    assert scores.layers["mlp"].relevance.shape == (3, 6)
    (found,) = engine.attribute_concepts(images(1), 1, [("mlp", 2)], {"mlp": ["conv1"]})
    assert found.lower_relevance["conv1"].shape == (6,)


def test_merging_a_norm_leaves_the_model_alone():
    net = make(lambda net, x: F.relu(net.norm(net.conv1(x))), norm=nn.BatchNorm2d(6))
    twin = copy.deepcopy(net)
    graph = simplify(capture(net, SHAPE))
    assert [node.operation for node in graph.nodes][:2] == ["conv2d", "relu"]
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), twin.state_dict().values(), strict=True))


def test_logits_that_are_not_the_models_are_refused():
    net = make(plain)
    engine = GraphEngine(net, ["conv1"], DOUBLE, SHAPE, CPU, name="net")
    scores = engine.score(images(), torch.tensor([0, 1, 2]))
    assert engine.prove(images(), scores.logits) < 1e-12
    net.fc.bias = nn.Parameter(net.fc.bias + 1e-6, requires_grad=False)  # as if its forward changed from call to call
    with pytest.raises(UnsupportedModel, match="net cannot be explained: read as a graph it gives other logits"):
        engine.prove(images(), scores.logits)
    with pytest.raises(UnsupportedModel, match="other logits than itself"):
        engine.logits(images())
