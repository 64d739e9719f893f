"""Families, prototypes and what should not stay: each figure against a second, plain way on small tables."""

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from precompute.config import RelevanceConfig, load_config
from precompute.images.dataset import iter_batches, normalise
from precompute.inputs import Inputs
from precompute.records import LARGE_SHARE, Concept
from precompute.relevance.engine import GraphEngine
from precompute.trust.families import average_linkage, find_families, rand_index, similarities
from precompute.trust.prototypes import Mixture, fit, judge_photo, model_class
from precompute.trust.sanity import (
    attribute_all,
    check_weights,
    compare,
    conservation,
    depths,
    drawn_anew,
    likeness,
    modules_from_top,
)
from tests.site_fixture import make_atlas


def plain_linkage(similarity, least):
    groups = [[place] for place in range(len(similarity))]
    while len(groups) > 1:
        pairs = [(a, b) for a in range(len(groups)) for b in range(a + 1, len(groups))]
        mean = {(a, b): np.mean([similarity[i, j] for i in groups[a] for j in groups[b]]) for a, b in pairs}
        best = max(pairs, key=mean.get)
        if mean[best] < least:
            break
        groups[best[0]] += groups.pop(best[1])
    return sorted(sorted(group) for group in groups)


@pytest.mark.parametrize("seed", range(5))
def test_average_linkage_is_that_of_all_pairs(seed):
    values = np.random.default_rng(seed).random((9, 9))
    similarity = (values + values.T) / 2
    for least in (0.3, 0.5, 0.6):
        assert average_linkage(similarity, least) == plain_linkage(similarity, least)


def test_the_rand_index_is_that_of_counted_pairs():
    first, second = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 2])
    assert rand_index(first, first) == 1
    # pairs together in both: (0,1), (3,4); in the first 4, in the second 4; of 15
    assert rand_index(first, second) == pytest.approx((2 - 16 / 15) / (4 - 16 / 15))


def test_similar_channels_are_a_family_and_names_keep_others_apart():
    atlas = make_atlas({"0": 4}, 96, untrusted=False)
    table = atlas.layers["0"].relmax
    k = 10
    sample, score = np.full((k, 4), -1), np.zeros((k, 4))
    neuron = np.zeros((k, 4), np.int64)
    for channel, start in enumerate((0, 0, 40, 40)):
        sample[:, channel] = np.arange(start, start + k)
        score[:, channel] = np.linspace(1, 0.5, k)
    neuron[:, 3] = 7  # the same samples as channel 2, at other places
    table = dataclasses.replace(table, sample_index=sample, score=score, neuron=neuron)
    info = dataclasses.replace(atlas.layers["0"].info, width=8, height=8)
    atlas = dataclasses.replace(atlas, layers={"0": dataclasses.replace(atlas.layers["0"], relmax=table, info=info)})
    (family,) = find_families(atlas, "0", {})
    assert sorted(family.concepts) == ["0:0", "0:1"]
    assert family.similarity == pytest.approx(1)
    channels, similarity = similarities(atlas, "0", {"0:0": "red eye", "0:1": "eye of a bird"})
    assert channels.tolist() == [0, 1, 2, 3]
    assert similarity[0, 1] == pytest.approx(0.5 + 0.5 / 3)  # of red, eye, bird one is common
    assert similarity[2, 3] == 0


def test_a_mixture_of_one_is_the_plain_normal_distribution():
    values = np.random.default_rng(0).normal(0.2, 0.1, (50, 2))
    mixture = fit(values, 1, np.random.default_rng(0))
    np.testing.assert_allclose(mixture.means[0], values.mean(0), rtol=1e-6)
    np.testing.assert_allclose(mixture.variances[0], values.var(0), rtol=1e-6)
    plain = torch.distributions.Normal(torch.from_numpy(values.mean(0)), torch.from_numpy(values.std(0)))
    expected = plain.log_prob(torch.from_numpy(values)).sum(1).numpy()
    np.testing.assert_allclose(mixture.log_likelihood(values), expected, rtol=1e-6)
    assert mixture.criterion(values) == pytest.approx(-2 * expected.sum() + 4 * np.log(50))


def test_a_mixture_of_two_adds_up_their_densities():
    mixture = Mixture(np.array([0.3, 0.7]), np.array([[0.0], [1.0]]), np.array([[1.0], [4.0]]))
    first, second = (torch.distributions.Normal(mean, scale) for mean, scale in ((0.0, 1.0), (1.0, 2.0)))
    at = torch.tensor(0.4)
    expected = torch.log(0.3 * first.log_prob(at).exp() + 0.7 * second.log_prob(at).exp())
    assert mixture.log_likelihood(np.array([[0.4]]))[0] == pytest.approx(float(expected))


def test_two_ways_are_two_prototypes_and_a_strange_photo_is_unusual():
    rng = np.random.default_rng(0)
    shares = np.tile([0.0, 0.3, 0.2, 0.0], (40, 1)) + rng.normal(0, 0.02, (40, 4)) * [0, 1, 1, 0]
    shares[:12, 0] = 0.4 + rng.normal(0, 0.02, 12)
    model = model_class(np.arange(40), shares, rng)
    assert sorted(Counter(model.members.tolist()).values()) == [12, 28]
    assert len(set(model.members[:12].tolist())) == 1
    prototype, n_less, through = judge_photo(model, np.array([0.4, 0.3, 0.2, 0.0]), "0")
    assert (prototype, through) == (1, ())
    assert n_less > 2
    _, n_less, through = judge_photo(model, np.array([0.9, 0.0, 0.0, 0.1]), "0")
    assert n_less == 0
    assert through[0].concept == Concept("0", 0).key
    assert through[0].share == pytest.approx(0.9 - shares[:12, 0].mean())


def test_one_way_is_one_prototype():
    rng = np.random.default_rng(3)
    shares = np.array([0.3, 0.2, 0.1]) + rng.normal(0, 0.03, (60, 3))
    assert len(set(model_class(np.arange(60), shares, rng).members.tolist())) == 1


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
    )  # fmt: skip
    return module.double().eval().requires_grad_(False)


def engine_of(module):
    return GraphEngine(module, ["2"], RelevanceConfig(precision="float64"), (3, 8, 8), torch.device("cpu"))


def test_weights_are_drawn_anew_from_the_top(network):
    image = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    names = modules_from_top(network, image)
    assert names == ["6", "2", "0"]
    changed = drawn_anew(network, names[:2], 0)
    assert torch.equal(changed[0].weight, network[0].weight)
    for place in (2, 6):
        assert not torch.equal(changed[place].weight, network[place].weight)
        assert changed[place].weight.std() == pytest.approx(float(network[place].weight.std()), rel=0.3)
    assert torch.equal(drawn_anew(network, names[:2], 0)[6].weight, changed[6].weight)
    assert [depths(13, n) for n in (0, 1, 2, 4)] == [[], [13], [1, 13], [1, 5, 9, 13]]


def test_what_stays_is_counted_by_hand(network):
    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    targets = network(images).argmax(1).tolist()
    known = attribute_all(engine_of(network), images, targets)
    same = compare("photo", known, known)
    assert (same.maps, same.layers[0].concepts, same.layers[0].correlation) == pytest.approx((1, 1, 1))
    (check,) = check_weights(network, engine_of, images, targets, known, 1, 7)
    assert check.n_modules == 3
    others = attribute_all(engine_of(drawn_anew(network, ["6", "2", "0"], 7)), images, targets)
    stay = []
    for a, b in zip(known, others, strict=True):
        first, second = (set(np.abs(item.relevance["2"]).argsort()[-5:].tolist()) for item in (a, b))
        stay.append(len(first & second) / 5)
    assert check.layers[0].concepts == pytest.approx(np.mean(stay))
    maps = [abs(np.corrcoef(a.heatmap.ravel(), b.heatmap.ravel())[0, 1]) for a, b in zip(known, others, strict=True)]
    assert check.maps == pytest.approx(np.mean(maps))
    assert likeness(np.ones((2, 2)), np.eye(2)) == 0


def test_the_logit_is_conserved_part_by_part(network):
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    targets = network(images).argmax(1)
    (found,) = conservation(attribute_all(engine_of(network), images, targets.tolist()))
    pooled = network[:5](images).flatten(1)
    logits = network(images)
    bias = [float(network[6].bias[t] / logits[i, t]) for i, t in enumerate(targets.tolist())]
    own = [float((pooled[i] * network[6].weight[t]).sum() / logits[i, t]) for i, t in enumerate(targets.tolist())]
    assert found.biases == pytest.approx(np.mean(bias), abs=1e-3)
    assert found.own == pytest.approx(np.mean(own), abs=1e-3)
    assert found.residual < 1e-9
    assert found.own + found.biases + found.stabilisers == pytest.approx(1)


def test_trees_with_and_without_the_mark_are_different_prototypes(tmp_path):
    """On the built-in world's network, over the 60 trees of the default atlas."""
    config = load_config(Path(__file__).parents[1] / "data" / "world.toml")
    inputs = Inputs(config, tmp_path)
    tree = inputs.class_names.index("tree")
    samples = np.flatnonzero(inputs.dataset.labels == tree)
    tables = []
    for batch in iter_batches(inputs.dataset, samples.tolist(), config):
        images = normalise(batch.images, config.preprocessing, torch.float32)
        scored = inputs.engine.score(images, torch.full((len(images),), tree))
        tables.append(scored.layers["features.28"].relevance.double().cpu().numpy())
    shares = np.concatenate(tables)
    model = model_class(samples, np.where(np.abs(shares) >= LARGE_SHARE, shares, 0.0), np.random.default_rng(0))
    has = np.asarray([inputs.dataset.is_marked(index) for index in samples.tolist()])
    members = model.members
    without = {component for component in set(members.tolist()) if has[members == component].mean() < 0.5}
    assert without  # some way of being decided is that of trees without the mark
    in_those = np.isin(members, list(without))
    assert in_those[~has].all()
    assert in_those[has].mean() < 0.1
