"""On random networks the engine gives what a second LRP gives, which runs the model itself."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from precompute.config import RelevanceConfig
from precompute.errors import UnsupportedModel
from precompute.network.folding import simplify
from precompute.network.graph import capture
from precompute.relevance.engine import GraphEngine
from precompute.relevance.proof import check_conservation, measure_conservation
from tests import second_lrp

DOUBLE = RelevanceConfig(precision="float64")
SIDE = 12
HOW = {
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.explicit, Phase.generate],  # a network is read as it was drawn: making it smaller takes minutes
}


class ConvNorm(nn.Module):
    """A convolution, with a norm behind it, before it or not at all, and an activation."""

    def __init__(self, n_in, n_out, norm, activation, kernel, groups):
        super().__init__()
        groups = groups if n_in % groups == 0 and n_out % groups == 0 else 1
        self.conv = nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2, groups=groups)
        self.order = norm
        kinds = {"behind": nn.BatchNorm2d, "group": lambda n: nn.GroupNorm(2, n), "none": lambda n: nn.Identity()}
        self.norm = nn.BatchNorm2d(n_in) if norm == "before" else kinds[norm](n_out)
        self.act = {"relu": F.relu, "silu": F.silu, "leaky": lambda x: F.leaky_relu(x, 0.2)}[activation]

    def forward(self, x):
        if self.order == "before":
            return self.conv(self.act(self.norm(x)))
        return self.act(self.norm(self.conv(x)))


class Block(nn.Module):
    """What stands around two convolutions: nothing, a sum, a concatenation, a gate, a shuffle, a pooling."""

    def __init__(self, kind, width, draws):
        super().__init__()
        self.kind = kind
        self.first = ConvNorm(width, width, *draws[0])
        self.second = ConvNorm(width, width, *draws[1])
        self.gate = nn.Conv2d(width, width, 1)
        self.join = nn.Conv2d(2 * width, width, 1)

    def forward(self, x):
        if self.kind == "residual":
            return F.relu(x.add(self.second(self.first(x))))
        if self.kind == "dense":
            return self.join(torch.cat([x, self.second(self.first(x))], 1))
        if self.kind == "gated":
            y = self.first(x)
            return self.second(y.mul(torch.sigmoid(self.gate(F.adaptive_avg_pool2d(y, 1)))))
        if self.kind == "shuffled":
            n, c, h, w = x.shape
            mixed = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
            left, right = mixed.chunk(2, 1)
            return self.second(self.first(torch.cat([right, left], 1)))
        if self.kind == "pooled":
            return self.second(F.avg_pool2d(self.first(x), 3, 1, 1))
        return self.second(F.max_pool2d(self.first(x), 3, 1, 1))


class Random(nn.Module):
    def __init__(self, width, blocks):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=1, padding=1)
        self.blocks = nn.ModuleList(Block(kind, width, draws) for kind, draws in blocks)
        self.fc = nn.Linear(width, 4)

    def forward(self, x):
        x = F.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.fc(F.adaptive_avg_pool2d(F.relu(x), 1).flatten(1))


CONVOLUTIONS = st.tuples(
    st.sampled_from(["behind", "group", "none", "before"]),
    st.sampled_from(["relu", "silu", "leaky"]),
    st.sampled_from([1, 3]),
    st.sampled_from([1, 2, 4]),
)
BLOCKS = st.tuples(
    st.sampled_from(["residual", "dense", "gated", "shuffled", "pooled", "plain"]),
    st.tuples(CONVOLUTIONS, CONVOLUTIONS),
)
NETWORKS = st.tuples(st.sampled_from([4, 8]), st.lists(BLOCKS, min_size=1, max_size=4), st.integers(0, 10**6))


def check(drawn):
    width, blocks, seed = drawn
    torch.manual_seed(seed)
    net = Random(width, blocks).double().eval().requires_grad_(False)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.3, 2)
        if isinstance(part, nn.BatchNorm2d | nn.GroupNorm):
            part.weight.uniform_(0.3, 2)
            part.bias.normal_(0, 0.3)
    image = torch.randn(1, 3, SIDE, SIDE, dtype=torch.float64)
    graph = simplify(capture(net, (3, SIDE, SIDE)))
    engine = GraphEngine(net, ["stem"], DOUBLE, (3, SIDE, SIDE), torch.device("cpu"), graph=graph)
    logits, relevance, heatmap = second_lrp.explain(net, image, 2, "stem")
    assert (engine.logits(image) - logits).abs().max() <= 1e-12 * logits.abs().max()
    ours, layers = engine.attribute(image, 2)
    expected = relevance[0].sum((1, 2))
    assert (layers["stem"].relevance - expected).abs().max() <= 1e-9 * expected.abs().max() + 1e-300
    assert (ours - heatmap).abs().max() <= 1e-9 * heatmap.abs().max() + 1e-300
    split = layers["stem"].split
    assert abs(split.residual) <= 1e-12 * max(split.absolute, abs(split.logit))
    check_conservation(measure_conservation(graph, image))


class Written(nn.Module):
    """Two convolutions, and what a lambda does behind each."""

    def __init__(self, first, second, between=F.relu, end=F.relu, n_features=6):
        super().__init__()
        self.stem, self.second, self.fc = first, second, nn.Linear(n_features, 4)
        self.between, self.end = [between], [end]

    def forward(self, x):
        x = self.end[0](self.second(self.between[0](self.stem(x))))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1) if x.dim() == 4 else x)


def conv(n_in=3, kernel=3, **options):
    return nn.Conv2d(n_in, 6, kernel, **options)


WRITTEN = {
    "even kernels, same": lambda: Written(conv(3, 4, padding="same"), conv(6, (2, 4), padding="same", dilation=(1, 3))),
    "strides above the kernel": lambda: Written(conv(3, 2, stride=3), conv(6, 1, stride=2, padding=1)),
    "padding above the kernel": lambda: Written(conv(3, 3, padding=4), conv(6, 2, padding=(3, 0))),
    "rectangles": lambda: Written(conv(3, (1, 7), padding=(0, 3), stride=(2, 1)), conv(6, (3, 2), dilation=(2, 3))),
    "groups on the image": lambda: Written(conv(3, 3, groups=3, stride=2), conv(6, 3, groups=2)),
    "uneven adaptive pooling": lambda: Written(
        conv(), conv(6), end=lambda x: F.adaptive_avg_pool2d(x, (5, 7)).flatten(1), n_features=210
    ),
    "padding not counted": lambda: Written(
        conv(), conv(6), lambda x: F.avg_pool2d(x, 4, 3, 2, ceil_mode=True, count_include_pad=False)
    ),
    "ceiled maxima": lambda: Written(conv(), conv(6, 2), lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True)),
    "means of the last axes": lambda: Written(conv(), conv(6), end=lambda x: x.amax([-1, -2])),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_network_written_by_hand_equals_a_second_lrp(name):
    torch.manual_seed(0)
    net = WRITTEN[name]().double().eval().requires_grad_(False)
    shape = (3, SIDE, SIDE + 3)
    image = torch.randn(1, *shape, dtype=torch.float64)
    engine = GraphEngine(net, ["stem"], DOUBLE, shape, torch.device("cpu"))
    logits, relevance, heatmap = second_lrp.explain(net, image, 2, "stem")
    assert (engine.logits(image) - logits).abs().max() <= 1e-12 * logits.abs().max()
    ours, layers = engine.attribute(image, 2)
    expected = relevance[0].sum((1, 2))
    assert (layers["stem"].relevance - expected).abs().max() <= 1e-9 * expected.abs().max()
    assert (ours - heatmap).abs().max() <= 1e-9 * heatmap.abs().max()
    assert engine.conserve(image, 2, 0).worst[1] < 1e-12


def test_what_a_stabiliser_takes_of_silent_maps_is_counted_to_the_last_bit():
    """A mean of zeros has nothing but the stabiliser, of which a float32 epsilon lost 2.5e-9."""
    torch.manual_seed(0)
    silent = nn.Conv2d(3, 4, 1)
    nn.init.constant_(silent.bias, -100)
    net = nn.Sequential(silent, nn.ReLU(), nn.AvgPool2d(2), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 3))
    net[3].bias.data.fill_(1)
    net = net.double().eval().requires_grad_(False)
    image = torch.randn(1, 3, SIDE, SIDE, dtype=torch.float64)
    engine = GraphEngine(net, ["0"], DOUBLE, (3, SIDE, SIDE), torch.device("cpu"))
    split = engine.attribute(image, 1)[1]["0"].split
    assert abs(split.stabilisers) > 0.1 * abs(split.logit)
    assert abs(split.residual) <= 1e-14 * abs(split.logit)


@settings(max_examples=6, **HOW)
@given(NETWORKS)
def test_a_few_random_networks_equal_a_second_lrp(drawn):
    check(drawn)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=200, **HOW)
@given(NETWORKS)
def test_200_random_networks_equal_a_second_lrp(drawn):
    check(drawn)


class Joined(nn.Module):
    """Two convolutions of the image, joined by what is asked, and a third behind them."""

    def __init__(self, join):
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(3, 6, 3, padding=1)
        self.third, self.fc, self.matrix = nn.Conv2d(6, 6, 1), nn.Linear(6, 4), nn.Parameter(torch.randn(6, 6))
        self.norm = nn.RMSNorm(6)
        self.join = [join]

    def forward(self, x):
        joined = self.join[0](self, F.relu(self.left(x)), F.silu(self.right(x)))
        return self.fc(F.adaptive_avg_pool2d(F.relu(self.third(joined)), 1).flatten(1))


def assign_halves(net, a, b):
    made = torch.zeros_like(a)
    made[:, :3] = a[:, 3:]
    made[:, 3:] = b[:, :3]
    return made


def assign_over(net, a, b):
    made = a.clone()
    made[:, 1::2] = b[:, :3]
    return made


def interleave(net, a, b):
    made = a.new_empty(a.shape[0], 6, *a.shape[2:])
    made[:, 0::2], made[:, 1::2] = a[:, :3], b[:, 3:]
    return made


def over(net, a, b):
    return torch.stack([a[:, 0], b[:, 0], a[:, 2], b[:, 1], a[:, 4], b[:, 2]], 1)


def mixed(net, a, b):
    """What an einsum over channels does, as a linear layer."""
    return F.linear(a.permute(0, 2, 3, 1), net.matrix).permute(0, 3, 1, 2)


SPELT = {  # how a network writes it, and how the second LRP is given the same
    "stack and sum": (lambda net, a, b: torch.stack([a, b]).sum(0), lambda net, a, b: a.add(b)),
    "stack and mean": (
        lambda net, a, b: torch.stack([a, b, a]).mean(0),
        lambda net, a, b: torch.stack([a, b, a]).mean(0),
    ),
    "stack and maximum": (lambda net, a, b: torch.stack((a, b), -5).amax(-5), lambda net, a, b: torch.maximum(a, b)),
    "stack beside": (lambda net, a, b: torch.stack([a, b], 1).sum(1), lambda net, a, b: a.add(b)),
    "GLU": (lambda net, a, b: F.glu(torch.cat([a, b], 1), 1), lambda net, a, b: a.mul(torch.sigmoid(b))),
    "GLU over rows": (lambda net, a, b: F.glu(a, -2), lambda net, a, b: a[:, :, :6].mul(torch.sigmoid(a[:, :, 6:]))),
    "halves assigned": (assign_halves, lambda net, a, b: torch.cat([a[:, 3:], b[:, :3]], 1)),
    "assigned over": (assign_over, over),
    "interleaved": (interleave, lambda net, a, b: torch.stack([a[:, :3], b[:, 3:]], 2).flatten(1, 2)),
    "einsum": (lambda net, a, b: torch.einsum("nchw,dc->ndhw", a, net.matrix), mixed),
    "einsum turned": (lambda net, a, b: torch.einsum("cd,nchw->ndhw", net.matrix.T, a), mixed),
    "RMS norm": (
        lambda net, a, b: net.norm(a.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
        lambda net, a, b: F.rms_norm(a.permute(0, 2, 3, 1), (6,), net.norm.weight).permute(0, 3, 1, 2),
    ),
    "RMS norm by hand": (
        lambda net, a, b: a * torch.rsqrt(a.pow(2).mean(1, keepdim=True) + 1e-6),
        lambda net, a, b: F.rms_norm(a.permute(0, 2, 3, 1), (6,), None, 1e-6).permute(0, 3, 1, 2),
    ),
}


@pytest.mark.parametrize("name", SPELT)
def test_other_spellings_of_known_operations_equal_a_second_lrp(name):
    ours, theirs = SPELT[name]
    torch.manual_seed(0)
    net = Joined(ours).double().eval().requires_grad_(False)
    image = torch.randn(1, 3, SIDE, SIDE, dtype=torch.float64)
    engine = GraphEngine(net, ["left"], DOUBLE, (3, SIDE, SIDE), torch.device("cpu"))
    both = torch.cat([image, 2 * image.flip(3)])
    assert (engine.logits(both)[:1] - net(image)).abs().max() <= 1e-12 * net(image).abs().max()
    net.join[0] = theirs
    logits, relevance, heatmap = second_lrp.explain(net, image, 2, "left")
    assert (
        engine.network.forward(image, wanted={engine.network.graph.output}).outputs.popitem()[1] - logits
    ).abs().max() <= 1e-12 * logits.abs().max()
    found, layers = engine.attribute(image, 2)
    expected = relevance[0].sum((1, 2))
    assert (layers["left"].relevance - expected).abs().max() <= 1e-9 * expected.abs().max()
    assert (found - heatmap).abs().max() <= 1e-9 * heatmap.abs().max()
    net.join[0] = ours
    assert engine.conserve(image, 2, 0).worst[1] < 1e-12


@pytest.mark.parametrize(
    "equation", ["nchw,nd->ndhw", "nchw,cc->nchw", "nchw,dc->dnhw", "...chw,dc->...dhw", "nchw,dc->nhw"]
)
def test_an_einsum_that_is_no_linear_layer_is_refused(equation):
    def join(net, a, b):
        matrix = a[:, :, 0, 0] if "nd" in equation else net.matrix
        made = torch.einsum(equation, a, matrix)
        return (
            made.transpose(0, 1)
            if "->dn" in equation
            else made[:, None].expand(-1, 6, -1, -1)
            if "nhw" in equation[-4:]
            else made
        )

    net = Joined(join).double().eval().requires_grad_(False)
    with pytest.raises(UnsupportedModel, match="einsum"):
        GraphEngine(net, ["left"], DOUBLE, (3, SIDE, SIDE), torch.device("cpu"))
