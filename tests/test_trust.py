"""How far shares are trusted: every figure against a second, plain way, and grades for networks that are known."""

import numpy as np
import pytest
import torch
from torch import nn

from precompute.config import RelevanceConfig
from precompute.records import AblationCurve, LayerTrust
from precompute.relevance.engine import GraphEngine
from precompute.relevance.intervention import mean_values
from precompute.trust.ablation import Ablation, NamedConcepts, SampleScores, measure_layer, try_explanation
from precompute.trust.statistics import area, benjamini_hochberg, rank_correlation, spread_over_classes
from sitegen.pages.trust import verdict

N_CHANNELS = 20


@pytest.fixture(scope="module")
def linear():
    """Channels that add up to the logits: what a channel gives is exactly what is lost without it."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, N_CHANNELS, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(N_CHANNELS, 4, bias=False),
    )
    module[4].weight.data *= 8
    return module.double().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images():
    return torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture(scope="module")
def engine(linear):
    return GraphEngine(linear, ["0"], RelevanceConfig(precision="float64"), (3, 8, 8), torch.device("cpu"))


def measured(engine, images, shares=None):
    targets = engine.logits(images).argmax(1)
    scored = engine.score(images, targets).layers["0"]
    opened = [engine.intervene(images[:5], "0"), engine.intervene(images[5:], "0")]
    shares = scored.relevance.numpy() if shares is None else shares
    scores = SampleScores(targets.numpy(), shares, scored.activation.numpy())
    ablation = Ablation(opened, opened[0].zero(), "classes")
    return measure_layer("0", ablation, scores, np.random.default_rng(0), n_random=6, n_greedy=2)


def test_a_linear_network_gets_a_perfect_grade(engine, images):
    found = measured(engine, images)
    assert found.correlation == pytest.approx(1.0, abs=1e-9)
    areas = {curve.order: curve.area for curve in found.curves}
    assert areas["most"] < areas["random"] < areas["least"]
    assert verdict(found) == "Shares tell well which channels matter"


def test_shares_in_random_order_get_a_bad_grade(engine, images):
    shares = np.random.default_rng(5).normal(size=(len(images), N_CHANNELS)) / N_CHANNELS
    found = measured(engine, images, shares)
    assert abs(found.correlation) < 0.25
    assert verdict(found) == "Shares do not tell which channels matter here"


def test_the_curves_are_those_of_a_hook_on_the_module(engine, linear, images):
    found = measured(engine, images)
    targets = linear(images).argmax(1)
    shares = engine.score(images, targets).layers["0"].relevance
    left = []
    for image, target, row in zip(images, targets, shares, strict=True):
        before = linear(image[None]).softmax(1)[0, target]
        values = []
        for count in (0, 1, 2, 3, 4, 6, 8, 12, 16):
            chosen = row.argsort(descending=True)[:count]

            def switch(_module, _inputs, output, chosen=chosen):
                output = output.clone()
                output[:, chosen] = 0
                return output

            with linear[0].register_forward_hook(switch):
                values.append(float(linear(image[None]).softmax(1)[0, target] / before))
        left.append(values)
    curve = found.curve("most")
    np.testing.assert_allclose(curve.left, np.mean(left, 0), rtol=1e-9)
    widths = np.diff([0, 1, 2, 3, 4, 6, 8, 12, 16])
    heights = [sum(w * (a + b) / 2 for w, a, b in zip(widths, row, row[1:], strict=False)) / 16 for row in left]
    assert curve.area == pytest.approx(np.mean(heights))
    assert curve.error == pytest.approx(np.std(heights, ddof=1) / np.sqrt(len(heights)))


def test_what_if_is_what_a_hook_gives(engine, linear, images):
    image, channels = images[:1], (3, 7)
    target = int(linear(image).argmax())
    shares = engine.score(image, torch.tensor([target])).layers["0"].relevance[0]
    opened = engine.intervene(image, "0")
    mean = mean_values([engine.intervene(images, "0").sums()])
    named = NamedConcepts("photo", "digest", target, "0", channels, tuple(shares.tolist()))
    values = {"mean": mean, "zero": opened.zero()}
    found = try_explanation(named, values, "mean", opened, np.random.default_rng(0), n_random=5, task="classes")

    def without(chosen, value):
        def switch(_module, _inputs, output):
            output = output.clone()
            output[:, chosen] = value[list(chosen)].view(1, -1, 1, 1)
            return output

        with linear[0].register_forward_hook(switch):
            return float(linear(image).softmax(1)[0, target])

    plain = linear[0](images).mean((0, 2, 3))
    assert found.before == pytest.approx(float(linear(image).softmax(1)[0, target]))
    assert found.after == pytest.approx(without(channels, plain))
    assert found.after_other == pytest.approx(without(channels, plain * 0))
    assert found.alone == pytest.approx([without((channel,), plain) for channel in channels])
    assert found.n_random == 5
    assert found.random_low <= found.random_mean <= found.random_high


def test_statistics_on_small_tables():
    assert rank_correlation(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert rank_correlation(np.array([1.0, 1.0]), np.array([1.0, 2.0])) is None
    np.testing.assert_allclose(area((0, 1, 3), np.array([[1.0, 0.5, 0.0]])), [(0.75 + 2 * 0.25) / 3])
    np.testing.assert_allclose(benjamini_hochberg(np.array([0.04, 0.01, 0.5])), [0.06, 0.03, 0.5])
    assert spread_over_classes(np.array([0, 0, 0, 0, 1, -1]), 3) == [0, 2, 4]
    assert spread_over_classes(np.arange(10), 5) == [0, 2, 4, 6, 8]
    assert spread_over_classes(np.array([0, 0, 0, 1]), 9) == [0, 1, 2, 3]


def test_what_is_not_sure_is_not_called_telling():
    layer = LayerTrust("0", 3, 0.9, 0.6, 0.0, (AblationCurve("most", 3, (1.0,), 0.1, 0.0),), 0.5, 0.1)
    assert verdict(layer) == "Shares do not tell which channels matter here"
