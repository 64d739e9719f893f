"""The tables and heatmaps of real networks on real photos equal zennit-crp's."""

from pathlib import Path

import pytest

from benchmarks.agreement import compare
from precompute.config import load_config

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


@pytest.mark.skipif(not SHARED.exists(), reason="the development photos and networks are not here (../shared)")
@pytest.mark.parametrize(
    ("name", "n_samples", "overrides"),
    [
        ("imagenet-sample", 3, ["model.layers=['features.9.expand*', 'features.12.expand*']"]),
        ("cifar10-sample", 12, []),
    ],
)
def test_real_networks_on_real_photos_equal_the_peer(name, n_samples, overrides):
    for row in compare(load_config(ROOT / f"data/{name}.toml", overrides), n_samples, 2):
        assert row.n_entries > 0
        assert row.n_samples_differ == 0
        assert row.n_neurons_differ == 0
        assert row.score_deviation < 1e-10
        assert row.heatmap_deviation < 1e-6
