"""What people come for, each in at most three clicks from where they stand; typing and reading are free."""

from pathlib import Path

import pytest

from precompute.atlas.hdf5 import read_atlas, write_atlas
from sitegen.build import SiteOptions, build_site

from . import site_fixture

CHROMIUM = Path("/usr/bin/chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}")

TASKS = {  # from: what is typed (`type:`) or clicked, in turn, and then what has to be in sight
    "why was this photo decided wrongly": ("index.html", ["#wrong + ul a"], ".verdict.wrong"),
    "what does the network rest on for a class": (
        "index.html", [".doors a:has-text('One class')", ".class-cards a:has-text('tree')"], "table.bars .bar",
    ),
    "find a concept of which I know a word": (
        "index.html", ["type:.find input=weels", ".suggested a.hit"], "h1:has-text('wheel')",
    ),
    "find a concept of which I know the key": (
        "classes/class-1.html", ["type:.find input=14:7", ".suggested a.hit"], "code:has-text('features.14:7')",
    ),
    "from a reason to the samples behind it": (
        "explanations/photo-01-abcdef.html", ["table.reasons tbody th a:not(.spot-number)", "ol.tiles a.frame"],
        "article.sample:target",
    ),
    "what tells two confused classes apart": (
        "index.html", [".doors a:has-text('One class')", ".class-cards a:has-text('sailing')", "a:has-text('compare')"],
        "table.mirrored .bar",
    ),
    "what is the evidence of a shortcut": ("index.html", ["a:has-text('The evidence')"], "h1:has-text('Audit')"),
    "how far can I trust this": ("index.html", ["a:has-text('How far to trust')"], "svg.curves"),
    "read an explanation as an expert": (
        "index.html", ["a:has-text('Read the whole explanation')", "label:has-text('For experts')"],
        ".narrative[data-n='2'] .story",
    ),
    "take all concepts away as a table": (
        "index.html", [".doors a:has-text('The whole network')"], "a[href$='concepts.csv']",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    site_fixture.write_synthetic(folder / "atlas", n_explanations=4)
    atlas = read_atlas(folder / "atlas/atlas.h5")
    atlas.samples.prediction[1] = 2
    write_atlas(folder / "atlas/atlas.h5", atlas)
    build_site(folder / "site", folder / "atlas", SiteOptions("A world", "What a network sees."))
    return folder / "site"


@pytest.fixture(scope="module")
def context():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser.new_context(viewport={"width": 1280, "height": 900})
        browser.close()


@pytest.mark.parametrize("task", TASKS)
def test_a_task_takes_three_clicks_at_most(site, context, task):
    start, steps, goal = TASKS[task]
    assert len(TASKS) == 10
    assert sum(not step.startswith("type:") for step in steps) <= 3
    page = context.new_page()
    page.set_default_timeout(5000)
    page.goto((site / start).as_uri())
    for step in steps:
        if step.startswith("type:"):
            place, _, words = step.removeprefix("type:").partition("=")
            page.locator(place).first.press_sequentially(words)
        else:
            page.locator(step).first.click()
    page.locator(goal).first.wait_for()
    page.close()


def test_pages_read_in_forced_colours_and_on_paper(site, context):
    page = context.new_page()
    page.goto((site / "explanations/photo-01-abcdef.html").as_uri())
    page.emulate_media(forced_colors="active")
    bars = page.locator("table.reasons .track > span")
    assert bars.first.evaluate("bar => getComputedStyle(bar).forcedColorAdjust") == "none"
    page.emulate_media(forced_colors="none", media="print")
    assert not page.locator(".md-header").is_visible()
    assert page.locator(".narrative").nth(1).is_visible()
    assert page.locator(".paper-foot").is_visible()
    page.close()
