"""Winograd's convolution is the convolution, whatever the size, the padding and the batch."""

import pytest
import torch
import torch.nn.functional as F

from precompute.config import RelevanceConfig
from precompute.relevance import operations, winograd
from precompute.relevance.engine import GraphEngine
from tests import nets


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (2, 1)])
@pytest.mark.parametrize("size", [(6, 6), (8, 13), (14, 7)])
def test_it_equals_the_direct_sum(size, padding):
    values, weight = random(3, 5, *size), random(70, 5, 3, 3, seed=1)
    found = winograd.convolve(values, winograd.arrange(weight), padding)
    expected = F.conv2d(values, weight, padding=padding)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-12 * expected.abs().max()


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_the_transposed_convolution_equals_the_direct_sum(padding):
    share, weight = random(2, 5, 9, 10), random(5, 7, 3, 3, seed=1)
    found = winograd.convolve(share, winograd.arrange(weight), (2 - padding, 2 - padding), transposed=True)
    expected = F.conv_transpose2d(share, weight, padding=padding)
    assert (found - expected).abs().max() <= 1e-12 * expected.abs().max()


def test_chunks_do_not_change_the_result(monkeypatch):
    values, weight = random(5, 4, 8, 8), winograd.arrange(random(3, 4, 3, 3, seed=1))
    whole = winograd.convolve(values, weight, (1, 1))
    monkeypatch.setattr(winograd, "CHUNK_ELEMENTS", 1)
    assert (winograd.convolve(values, weight, (1, 1)) - whole).abs().max() <= 1e-12 * whole.abs().max()


def test_float32_is_as_near_to_float64_as_the_direct_sum(monkeypatch):
    module, images = nets.tiny(nets.plain), random(4, 3, 16, 16)
    labels, layers = torch.tensor([0, 1, 4, 2]), nets.layer_names(module)

    def scores(precision):
        engine = GraphEngine(module, layers, RelevanceConfig(precision=precision), (3, 16, 16), torch.device("cpu"))
        return engine.score(images, labels).layers

    exact, calls = scores("float64"), []
    direct = scores("float32")
    monkeypatch.setattr(operations, "MIN_PAIRS_TO_TRANSFORM", 1)
    monkeypatch.setattr(operations, "MIN_PIXELS_TO_TRANSFORM", 1)
    convolve = winograd.convolve
    monkeypatch.setattr(winograd, "convolve", lambda *given, **named: calls.append(1) or convolve(*given, **named))
    assert scores("float64").keys() == exact.keys()
    assert not calls, "float64 stays the direct sum"
    transformed = scores("float32")
    assert calls
    for name in layers:
        # the forward pass stays the direct sum, bit for bit
        assert torch.equal(transformed[name].activation, direct[name].activation)
        largest = exact[name].relevance.abs().max()
        assert (transformed[name].relevance - exact[name].relevance).abs().max() <= 1e-4 * largest


def test_float32_rounds_hardly_worse_than_the_direct_sum():
    values, weight = random(2, 128, 28, 28).relu(), random(64, 128, 3, 3, seed=1)
    exact = F.conv2d(values, weight, padding=1)
    single = values.float().contiguous(memory_format=torch.channels_last)
    direct = F.conv2d(single, weight.float(), padding=1) - exact
    transformed = winograd.convolve(single, winograd.arrange(weight.float()), (1, 1)) - exact
    assert transformed.square().mean() <= 3.5**2 * direct.square().mean()
