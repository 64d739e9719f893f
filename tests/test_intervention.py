"""Switching channels off through the graph gives what a plain hook on the module gives."""

import pytest
import torch
from torch import nn

from precompute.config import RelevanceConfig
from precompute.relevance.engine import GraphEngine
from precompute.relevance.intervention import mean_values
from tests import nets


class Branched(nn.Module):
    """A shortcut and a concatenation beside the layers in the middle."""

    def __init__(self):
        super().__init__()
        self.first, self.side, self.inner = (
            nn.Conv2d(3, 6, 3, padding=1),
            nn.Conv2d(6, 6, 1),
            nn.Conv2d(6, 6, 3, padding=1),
        )
        self.last, self.head = nn.Conv2d(12, 8, 3), nn.Linear(8, 5)

    def forward(self, x):
        x = torch.relu(self.first(x))
        side = torch.relu(self.side(x))
        inner = torch.relu(self.inner(x) + x)
        return self.head(torch.relu(self.last(torch.cat([inner, side], 1))).mean((2, 3)))


CASES = {
    "chain": (lambda: nets.randomise(nets.plain()), ["0", "2", "5", "9"], 16),
    "branches": (lambda: nets.randomise(Branched()), ["first", "side", "inner", "last"], 16),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_channels_switched_off_are_those_of_a_hook_on_the_module(case):
    make, layers, side = CASES[case]
    module = make()
    images = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    engine = GraphEngine(module, layers, RelevanceConfig(precision="float64"), (3, side, side), torch.device("cpu"))
    generator = torch.Generator().manual_seed(2)
    for layer in layers:
        part = module.get_submodule(layer)
        seen = []
        with part.register_forward_hook(lambda _m, _i, output, seen=seen: seen.append(output.clone())):
            plain = module(images)
        axes = (0, *range(2, seen[0].dim()))
        mean = seen[0].mean(axes)
        opened = [engine.intervene(images[:1], layer), engine.intervene(images[1:], layer)]
        values = mean_values([item.sums() for item in opened])
        torch.testing.assert_close(values[0], mean)
        whole = engine.intervene(images, layer)
        torch.testing.assert_close(whole.logits, plain)
        off = torch.rand(3, len(mean), generator=generator) < 0.5
        shape = (3, len(mean), *(1 for _ in seen[0].shape[2:]))
        for value in (values, whole.zero()):

            def switch(_module, _inputs, output, value=value, off=off, shape=shape):
                return torch.where(off.view(shape), value[0].view(1, *shape[1:]), output)

            with part.register_forward_hook(switch):
                hooked = module(images)
            torch.testing.assert_close(whole.without(off, value), hooked)
            rows = torch.tensor([2, 0, 2])
            torch.testing.assert_close(whole.without(off[rows], value, rows), hooked[rows])
            assert not torch.allclose(hooked, plain)
