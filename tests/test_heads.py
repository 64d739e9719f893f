"""What networks give, as people have them, and the logits that are made of it."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from precompute.errors import ModelError
from precompute.network.heads import attach_head, compute_probabilities

SHAPE = (3, 8, 8)


class Net(nn.Module):
    """A small network whose output is dressed by `shape`."""

    def __init__(self, n_outputs: int, shape: Any = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head, self.shape = nn.Conv2d(3, 4, 3), nn.Linear(4, n_outputs), shape

    def forward(self, images: torch.Tensor) -> Any:
        logits = self.head(self.conv(images).relu().mean((2, 3)))
        return self.shape(logits) if self.shape else logits


class Record(NamedTuple):
    logits: torch.Tensor
    features: torch.Tensor


class Output:
    def __init__(self, logits: torch.Tensor) -> None:
        self.logits, self.loss = logits, None


IMAGES = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(1))

TAKEN: dict[str, tuple[int, Any, str, str]] = {
    "logits": (4, None, "classes", ""),
    "labels": (4, None, "labels", ""),
    "maps of one place": (4, lambda z: z[:, :, None, None], "classes", ""),
    "a mapping": (4, lambda z: {"out": z, "loss": torch.zeros(())}, "classes", "out"),
    "an ordered mapping": (4, lambda z: OrderedDict(logits=z, hidden=z * 2), "classes", "logits"),
    "a tuple": (4, lambda z: (z * 2, z), "classes", "1"),
    "a named tuple": (4, lambda z: Record(z, z * 2), "classes", "0"),
    "a list": (4, lambda z: [z], "labels", "0"),
    "a record": (4, Output, "classes", "logits"),
    "maps in a tuple": (4, lambda z: (z[:, :, None, None], z), "classes", "0"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_the_logits_are_taken_out_of_what_a_network_gives(name):
    n_outputs, shape, task, key = TAKEN[name]
    plain, net = Net(n_outputs), Net(n_outputs, shape)
    names = [found for found, _ in net.named_modules()], list(net.state_dict())
    assert attach_head(net, SHAPE, task=task, key=key, name="net") == n_outputs
    assert torch.equal(net(IMAGES), plain(IMAGES))
    assert names == ([found for found, _ in net.named_modules()], list(net.state_dict()))


@pytest.mark.parametrize("shape", [None, lambda z: z[:, 0], lambda z: z[..., None, None], lambda z: {"z": z}])
def test_a_single_logit_has_two_sides(shape):
    plain, net = Net(1), Net(1, shape)
    key = "z" if shape and isinstance(shape(torch.zeros(1, 1)), dict) else ""
    assert attach_head(net, SHAPE, task="binary", key=key, name="net") == 2
    logits, one = net(IMAGES), plain(IMAGES)
    assert torch.equal(logits, torch.cat([-one, one], 1))
    probabilities = compute_probabilities(logits, "binary")
    torch.testing.assert_close(probabilities[:, 1:], one.double().sigmoid())
    torch.testing.assert_close(probabilities.sum(1), torch.ones(5, dtype=torch.float64))
    assert torch.equal(copy.deepcopy(net)(IMAGES), logits)


def test_probabilities_are_those_of_the_task():
    logits = torch.tensor([[1000.0, 1000.0, -1000.0], [0.0, 2.0, 0.0]])
    classes = compute_probabilities(logits, "classes")
    assert classes[0].tolist() == [0.5, 0.5, 0.0]
    torch.testing.assert_close(classes.sum(1), torch.ones(2, dtype=torch.float64))
    assert torch.equal(compute_probabilities(logits, "labels"), logits.double().sigmoid())


def test_the_head_is_a_part_of_the_exported_graph():
    net = Net(1, lambda z: (z,)).eval()
    attach_head(net, SHAPE, task="binary", key="0", name="net")
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(net, (IMAGES,), dynamic_shapes=({0: batch},), strict=False)
    assert torch.equal(program.module()(IMAGES[:3]), net(IMAGES[:3]))
    operations = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert operations[-2:] == ["aten.mul.Tensor", "aten.cat.default"]


REFUSED: dict[str, tuple[int, Any, str, str, str]] = {
    "one logit, unsaid": (1, None, "classes", "", r'single number .*`task = "binary"` in \[model\]'),
    "one logit as labels": (1, None, "labels", "", r'single number .*`task = "binary"`'),
    "two logits as one": (2, None, "binary", "", "gives 2 logits for each image, but model.task is 'binary'"),
    "a mapping, unsaid": (
        4, lambda z: {"hidden": z[:, :, None, None], "out": z}, "classes", "",
        r"gives several outputs .*'hidden' of shape \(2, 4, 1, 1\), 'out' of shape \(2, 4\)\. Name .*`output = .out.`",
    ),
    "a tuple, wrongly named": (4, lambda z: (z, z), "classes", "2", "none of them '2'. Name the logits"),
    "a name too many": (4, None, "classes", "out", "gives one tensor, so there is no output 'out'; remove "
    "model.output"),
    "text": (4, lambda _: "cat", "classes", "", "gives str, expected logits"),
    "a segmentation": (4, lambda z: z[:, :, None, None].expand(-1, -1, 2, 2), "classes", "", "return the mean over "
    "its"),
    "no axis of images": (4, lambda z: z.mean(0), "classes", "", "Does it squeeze or average over the images"),
    "a scalar": (1, lambda z: z.mean(), "binary", "", "Does it squeeze or average over the images"),
    "decisions": (4, lambda z: z.argmax(1), "binary", "", "gives int64, expected logits in floating point"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_row_of_logits_is_refused_with_the_line_that_mends_it(name):
    n_outputs, shape, task, key, message = REFUSED[name]
    with pytest.raises(ModelError, match=message):
        attach_head(Net(n_outputs, shape), SHAPE, task=task, key=key, name="net")


@pytest.mark.parametrize(
    ("n_channels", "line"), [(1, r"channels = \[\"grey\"\]"), (4, "4 names of red"), (3, "red.*blue")]
)
def test_another_number_of_channels_is_told_with_the_setting(n_channels, line):
    net = nn.Sequential(nn.Conv2d(n_channels, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    shape = (3, 8, 8) if n_channels != 3 else (1, 8, 8)
    with pytest.raises(ModelError, match=rf"takes {n_channels}\sinput channels?, and gets {shape[0]}\. .*{line}"):
        attach_head(net, shape, task="classes", key="", name="net")


def test_an_input_of_another_size_is_told():
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 4))
    with pytest.raises(ModelError, match=r"fails on inputs of shape \(2, 3, 9, 9\).*preprocessing\.crop"):
        attach_head(net, (3, 9, 9), task="classes", key="", name="net")
