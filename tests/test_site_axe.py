"""axe finds no fault on any kind of page, light and dark, desktop and phone; nothing scrolls sideways at 320 px."""

from pathlib import Path

import pytest

from sitegen.build import SiteOptions, build_site

from . import site_fixture

CHROMIUM = Path("/usr/bin/chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}")

WIDTHS = {"desktop": 1280, "phone": 390}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("axe")
    site_fixture.write_synthetic(folder / "atlas")
    build_site(folder / "site", folder / "atlas", SiteOptions("A world in parts", "What a network sees."))
    return folder / "site"


@pytest.fixture(scope="module")
def pages(site):
    """List one page of each kind: all that stand alone, and the first of each folder and form of address."""
    kinds = {}
    for path in sorted(site.rglob("*.html")):
        name = path.relative_to(site).as_posix()
        form = name.partition("-")[0].partition("_")[0] if "/" in name else name
        kinds.setdefault(form, path)
    assert len(kinds) > 12
    return list(kinds.values())


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_nothing(pages, browser, width, scheme):
    viewport = {"width": WIDTHS[width], "height": 844}
    # axe is put into the page from outside, which the page's own policy rightly forbids
    context = browser.new_context(viewport=viewport, color_scheme=scheme, bypass_csp=True)
    found = {}
    for path in pages:
        page = context.new_page()
        page.goto(path.as_uri())
        results = axe.Axe().run(page, options={"resultTypes": ["violations"]})
        if results.violations_count:
            found[path.name] = [(item["id"], item["nodes"][0]["html"][:160]) for item in results.response["violations"]]
        page.close()
    context.close()
    assert found == {}


def test_nothing_scrolls_sideways_at_320_pixels(pages, browser):
    context = browser.new_context(viewport={"width": 320, "height": 640})
    page = context.new_page()
    wide = []
    for path in pages:
        page.goto(path.as_uri())
        if page.evaluate("document.documentElement.scrollWidth") > 320:
            wide.append(path.name)
    context.close()
    assert wide == []


def test_without_scripts_every_page_reads(pages, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    for path in pages:
        page.goto(path.as_uri())
        assert page.locator("main h1").first.is_visible(), path.name
        assert len(page.locator("main").inner_text()) > 60, path.name
    context.close()


def test_the_first_stop_of_the_keyboard_leads_past_the_navigation(pages, browser):
    context = browser.new_context()
    page = context.new_page()
    for path in pages:
        page.goto(path.as_uri())
        skip = page.locator("a.md-skip").first.get_attribute("href")
        if page.evaluate("document.activeElement.closest('main') !== null"):
            continue  # the search begins in its field, past the navigation already
        page.keyboard.press("Tab")
        target = page.evaluate("document.activeElement.getAttribute('href') || ''")
        assert target == skip, path.name
        assert target.startswith("#"), path.name
        assert page.locator(f'[id="{target[1:]}"]').count() == 1, path.name
    context.close()
