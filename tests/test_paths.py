"""The strongest paths of an explanation: widths that add up, nothing left untold, the same in figure and list."""

import re
from dataclasses import replace

import pytest

from precompute.atlas.json_records import read_json
from precompute.records import Explanation, SubConcept
from sitegen.build import SiteOptions, build_site
from sitegen.pages.paths import DRAWN, strongest_paths

from . import site_fixture


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paths")
    site_fixture.write_synthetic(folder / "atlas", n_explanations=2)
    build_site(folder / "site", folder / "atlas", SiteOptions(only="explanations/*"))
    return folder


@pytest.fixture(scope="module")
def target(folder):
    path = sorted((folder / "atlas/explanations").glob("*.json"))[0]
    return read_json(path, Explanation).targets[0]


def page_of(folder):
    first = sorted((folder / "atlas/explanations").glob("*.json"))[0]
    return folder / "site/explanations" / f"{first.stem}.html"


def with_below(target, below):
    """Return a target whose main layer's concepts passed down these shares, in turn."""
    layer = target.layers[0]
    parts = [below[place % len(below)] for place in range(len(layer.concepts))]
    concepts = tuple(
        replace(item, sub_concepts=tuple(SubConcept(f"low:{channel}", share) for channel, share in part))
        for item, part in zip(layer.concepts, parts, strict=True)
    )
    return replace(target, layers=(replace(layer, concepts=concepts), *target.layers[1:]))


def test_paths_and_what_is_not_drawn_are_together_the_whole(target):
    made = with_below(target, [[(0, 0.5), (1, -0.3)], [(1, 0.25), (2, 0.25), (3, 0.125)]])
    found = strongest_paths(made, n_paths=3)
    assert len(found.paths) == 3
    for key, share in found.shares.items():
        assert sum(path.width for path in found.through(key)) + found.undrawn(key) == pytest.approx(
            abs(share), abs=1e-15
        )
    whole = found.drawn + sum(found.undrawn(key) for key in found.shares) + found.rest
    assert whole == pytest.approx(1, abs=1e-12)


def test_the_strongest_are_those_of_a_full_sort(target):
    made = with_below(target, [[(0, 0.5), (1, -0.3)], [(1, 0.25), (2, 0.25), (3, 0.125)]])
    plain = []
    for item in made.layers[0].concepts[:6]:
        for sub in item.sub_concepts:
            plain.append((-abs(item.share) * abs(sub.share), item.rank, item.concept, sub.concept))
    expected = [(upper, lower) for width, _, upper, lower in sorted(plain)[:4] if width]
    assert {(path.upper, path.lower) for path in strongest_paths(made, n_paths=4).paths} == set(expected)


def test_without_a_layer_below_there_are_no_paths(target):
    assert strongest_paths(with_below(target, [[]])) is None
    assert strongest_paths(replace(target, layers=())) is None


def test_bands_are_as_wide_as_their_parts_of_the_whole(folder, target):
    text = page_of(folder).read_text(encoding="utf-8")
    section = text.partition('<section class="paths">')[2].partition("</section>")[0]
    heights = [float(height) for height in re.findall(r'<path class="\w+" d="[^"]*?v([\d.]+)C', section)]
    found = strongest_paths(target)
    parts = [*map(abs, found.shares.values())]
    scale = DRAWN / sum(parts)
    parts += [path.width for path in found.paths] + [found.undrawn(key) for key in found.shares]
    drawn = sorted(round(part * scale, 2) for part in parts if part * scale >= 0.05)
    assert sorted(heights) == pytest.approx(drawn, abs=0.011)


def test_the_list_names_what_the_figure_names(folder):
    text = page_of(folder).read_text(encoding="utf-8")
    section = text.partition('<section class="paths">')[2].partition("</section>")[0]
    figure, _, rest = section.partition("</figure>")
    assert figure.count("<a ") >= 2
    assert set(re.findall(r'<a href="([^"]+)"', figure)) == set(re.findall(r'<a href="([^"]+)"', rest))
