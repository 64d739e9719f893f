"""The map and the comparison: what lies near what, and what a reader does there by keyboard, from a file."""

import json
from pathlib import Path

import numpy as np
import pytest

from precompute.atlas.hdf5 import read_atlas
from sitegen import links
from sitegen.build import SiteOptions, build_site
from sitegen.data.layout import SIDE, lay_out, nearest

from . import site_fixture

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("map")
    site_fixture.write_synthetic(folder / "atlas")
    build_site(folder / "site", folder / "atlas", SiteOptions("A world", "What a network sees."))
    return folder / "site"


def data_of(site, address):
    text = (site / address).read_text(encoding="utf-8")
    return json.loads(text.partition("=")[2].removesuffix(";\n"))


def test_concepts_of_one_class_lie_nearer_than_others(tmp_path):
    site_fixture.write_synthetic(tmp_path / "atlas", layers={"a": 40, "b": 40}, optional=False)
    atlas = read_atlas(tmp_path / "atlas/atlas.h5")
    for tables in atlas.layers.values():
        tables.class_relevance[:] = 0
        tables.class_relevance[np.arange(39) % 4, np.arange(39)] = 1.0  # the last channel is silent
        tables.relmax.sample_index[:] = -1
    found = lay_out(atlas)
    assert found == lay_out(atlas)
    assert len(found) == 78
    places = np.array(list(found.values()))
    assert places.min() >= 0
    assert places.max() <= SIDE
    group = np.array([concept.channel % 4 for concept in found])
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    same = group[:, None] == group[None]
    assert apart[same].mean() < 0.4 * apart[~same].mean()


def test_the_nearest_are_those_of_a_full_sort():
    rows = np.random.default_rng(1).normal(size=(60, 5))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    alike = rows @ rows.T
    np.fill_diagonal(alike, -2)
    expected = np.sort(np.argsort(-alike, axis=1)[:, :4], axis=1)
    np.testing.assert_array_equal(nearest(rows, 4), expected)


def test_the_comparison_holds_what_the_pages_print(site):
    data, index = data_of(site, links.COMPARE_DATA), data_of(site, links.SEARCH_INDEX)
    page = json.loads((site / "classes/class-1.json").read_text(encoding="utf-8"))
    pairs = data["classes"][1]
    for place, mean in zip(pairs[::2], pairs[1::2], strict=True):
        layer, channel = index["concepts"][place][:2]
        assert index["layers"][layer][0] == data["layer"] == "features.14"
        assert mean == pytest.approx(page["mean_relevance"]["features.14"][channel], abs=5e-5)
    explanation = json.loads((site / "explanations/photo-01-abcdef.json").read_text(encoding="utf-8"))
    shares = explanation["targets"][0]["layers"][0]["shares"]
    told = data["photos"][1][3]
    assert told[1] == pytest.approx(max(shares, key=abs), abs=5e-5)


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


def test_the_map_is_read_by_keyboard_and_its_state_is_in_the_address(site, chromium):
    page = chromium.new_page()
    page.goto((site / "map.html").as_uri())
    assert "19 of 19 concepts" in page.locator("#map-count").inner_text()
    page.locator("#map").focus()
    for key in ("ArrowRight", "ArrowDown", "+"):
        page.keyboard.press(key)
    assert "at=features." in page.url
    told = page.locator("#map-told a.hit").get_attribute("href")
    page.goto("about:blank")
    page.goto((site / "map.html").as_uri() + "#at=features.14:2&layer=1")
    assert page.locator("#map-told a.hit").get_attribute("href") == "concepts/features-14-c2.html"
    assert set(page.locator("#map-hits a.hit").evaluate_all("all => all.map(a => a.href.includes('-14-'))")) == {True}
    page.locator("#map").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/concepts/features-14-c2.html")
    assert told
    page.close()


def test_two_of_each_are_compared_and_swapped(site, chromium):
    page = chromium.new_page()
    page.goto((site / "compare.html").as_uri() + "#classes=1,2")
    heads = page.locator("table.mirrored thead th")
    assert [heads.nth(n).inner_text() for n in (0, 2)] == ["sailing boat", "tree"]
    page.click("#compare-turn")
    assert [heads.nth(n).inner_text() for n in (0, 2)] == ["tree", "sailing boat"]
    assert page.url.endswith("#classes=2,1")
    for name in ("concepts", "photos"):
        page.locator(f"label[for=what-{name}]").click()
        assert page.locator("table.mirrored tbody tr").count() > 1
        assert f"#{name}=" in page.url
    page.close()


def test_without_scripts_both_say_where_else_the_same_stands(site, chromium):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    for address, other in (("map.html", "concepts/layer_features-14.html"), ("compare.html", "classes/class-1.html")):
        page.goto((site / address).as_uri())
        assert page.locator(f"noscript a[href='{other}'], .note a[href='{other}']").first.is_visible()
        assert not page.locator("form.needs-script").is_visible()
    context.close()
