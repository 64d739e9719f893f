import math
import re

import pytest

from sitegen.charts import N_BARS, WIDTH, histogram, histogram_ends, is_even


def bars_of(chart):
    path = re.search(r'class="bars" d="([^"]*)"', chart)[1]
    return [(float(left), float(height)) for left, height in re.findall(r"M([\d.]+) \d+v-([\d.]+)", path)]


def test_nothing_counted_draws_nothing():
    assert histogram([0, 0, 0], [0, 1, 2, 3], "x") == ""
    assert all(math.isnan(end) for end in histogram_ends([0], [0, 1]))


def test_bars_follow_the_counts():
    bars = bars_of(histogram([0, 1, 10, 100, 0], [0, 1, 2, 3, 4, 5], "Relevance"))
    assert len(bars) == 3
    heights = [height for _, height in bars]
    assert heights == sorted(heights)
    assert histogram_ends([0, 1, 10, 100, 0], [0, 1, 2, 3, 4, 5]) == (1, 4)


@pytest.mark.parametrize("n_bins", [1, 63, 64, 65, 256, 1000])
def test_no_sample_is_lost_and_no_bar_leaves_the_chart(n_bins):
    chart = histogram([1] * n_bins, list(range(n_bins + 1)), "Relevance")
    assert f"{n_bins:,} samples" in chart
    bars = bars_of(chart)
    assert len(bars) <= N_BARS
    assert all(0 <= left < WIDTH for left, _ in bars)


def test_zero_is_marked_where_its_bin_is_drawn():
    edges = [-10, -1, -0.1, 0.1, 1, 10]
    chart = histogram([1, 1, 9, 1, 1], edges, "Relevance")
    assert f'class="zero" d="M{WIDTH // 2} 0' in chart
    assert 'class="zero"' not in histogram([1, 1], [0, 1, 2], "Relevance")
    assert not is_even(edges)
    assert is_even([0, 0.1, 0.2, 0.3])


def test_the_title_is_escaped():
    assert "<b>" not in histogram([1], [0, 1], '"><b>')
