"""The audit for shortcuts finds what is planted in small tables, and nothing where nothing is."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from precompute.records import LARGE_SHARE, Audit, Concept, LargeShares
from precompute.trust import shortcuts
from precompute.trust.shortcuts import Candidate, correct, distances, find_candidates, judge, p_value
from sitegen.pages.audit import sight
from tests.site_fixture import make_atlas

WIDTH, N_CHANNELS, N_WITH, N_WITHOUT = 8, 6, 12, 6


def table(rng, *, apart, fall):
    """Shares and places of one class: channel 0 in some samples only; `fall` is what is lost without it there."""
    n = N_WITH + N_WITHOUT
    has = np.arange(n) < N_WITH
    shares = np.full((n, N_CHANNELS), 0.15)
    shares[:, 0] = np.where(has, 0.3, 0.0)
    row, column = rng.integers(3, 6, (n, N_CHANNELS)), rng.integers(3, 6, (n, N_CHANNELS))
    if apart:
        row[:, 0], column[:, 0] = rng.choice([0, 7], n), rng.choice([0, 7], n)
    falls = np.where(has, fall, 0.0) + rng.normal(0, 0.03, n)
    return (
        Candidate(0, Concept("0", 0), N_WITH, N_WITHOUT, 0.3, 0.0002, np.arange(n), has),
        shares,
        row * WIDTH + column,
        falls,
    )


@pytest.mark.parametrize(("apart", "fall", "is_found"), [(True, 0.5, True), (False, 0.5, False), (True, 0.05, False)])
def test_all_evidence_has_to_hold(apart, fall, is_found):
    rng = np.random.default_rng(0)
    candidate, shares, neurons, falls = table(rng, apart=apart, fall=fall)
    (found,) = correct([judge(candidate, shares, neurons, WIDTH, falls, rng)])
    assert found.is_finding == is_found
    assert found.q == max(found.p_bound, found.p_apart, found.p_fall)
    assert found.fall_with == pytest.approx(falls[:N_WITH].mean())
    assert (found.p_apart < 0.01) == apart
    assert (found.p_fall < 0.01) == (fall > 0.1)


def test_false_alarms_are_as_rare_as_promised():
    rng = np.random.default_rng(1)
    tables = [table(rng, apart=False, fall=0.3) for _ in range(20)]
    findings = correct([judge(*item[:3], WIDTH, item[3], rng) for item in tables])
    assert sum(finding.is_finding for finding in findings) <= 1


def test_distances_are_those_of_a_plain_sum():
    shares, row, column = np.array([0.5, 0.2, 0.1, 0.01]), np.array([0, 3, 6, 9]), np.array([0, 4, 8, 0])
    own, others = distances(shares, row, column, 0)
    assert own == pytest.approx((0.2 * 5 + 0.1 * 10) / 0.3)
    assert others.tolist() == pytest.approx([5, 5])


def test_a_p_value_of_few_labels_is_that_of_all_permutations():
    values, observed = [3.0, 2.0, 1.0, 0.0], 5.0
    null = np.array([sum(pair) for pair in itertools.combinations(values, 2)])
    assert p_value(observed, null) == pytest.approx((1 + 1) / (1 + 6))


def test_candidates_are_in_a_part_of_the_class_alone():
    atlas = make_atlas({"0": 3}, 64, untrusted=False)
    members = np.flatnonzero(atlas.samples.target == 2)
    rows = [*((index, 0, 0.4) for index in members[:5]), *((index, 1, 0.4) for index in members), (members[0], 2, 0.9)]
    rows.sort()
    index, channel, share = (np.array(column) for column in zip(*rows, strict=True))
    large = LargeShares(index.astype(np.int64), channel.astype(np.int64), share.astype(np.float64))
    atlas = replace(atlas, layers={"0": replace(atlas.layers["0"], large=large)})
    (found,) = find_candidates(atlas, "0", np.random.default_rng(0))
    assert (found.class_index, found.concept.channel, found.n_with, found.n_without) == (2, 0, 5, 3)
    assert found.samples.tolist() == members.tolist()
    assert found.p_bound < 0.01


def test_what_pages_say_the_audit_looks_for_is_what_it_looks_for():
    looks_for, _ = sight(Audit(layers=("a",), n_classes=2, n_small=0, findings=()))
    least_with, least_without = shortcuts.LEAST_WITH, shortcuts.LEAST_WITHOUT
    assert f"at least {LARGE_SHARE * 100:.0f} % in some" in looks_for
    assert f"(at least {least_with}, with a mean of at least {shortcuts.LEAST_SHARE * 100:.0f} %)" in looks_for
    assert f"(at least {least_without})" in looks_for
    assert f"falls by at least {shortcuts.LEAST_FALL * 100:.0f} points" in looks_for
    assert least_with + least_without == 6, "pages say: fewer than six"
