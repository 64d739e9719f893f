"""The HTML form of every report as a browser opens it: axe finds nothing, no request, no script, at most 3 MB."""

from pathlib import Path

import pytest

from sitegen.reports.build import opened, report_of
from sitegen.reports.webpage import html_of

from . import site_fixture
from .test_reports import OPTIONS, SUBJECTS

CHROMIUM = Path("/usr/bin/chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    site_fixture.write_synthetic(folder / "atlas")
    found = {}
    with opened(folder / "atlas", OPTIONS) as material:
        for kind, subject in SUBJECTS.items():
            found[kind] = folder / f"{kind}.html"
            found[kind].write_bytes(html_of(report_of(material, kind, subject)))
    return found


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.mark.parametrize("kind", SUBJECTS)
def test_it_opens_from_a_file_without_scripts_and_asks_for_nothing(pages, browser, kind):
    context, asked = browser.new_context(java_script_enabled=False), []
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pages[kind].as_uri())
    assert page.locator("h1").inner_text()
    assert page.locator("nav a").count() >= 3
    assert [url for url in asked if not url.startswith("data:")] == [pages[kind].as_uri()]
    assert pages[kind].stat().st_size <= 3_000_000
    context.close()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("kind", SUBJECTS)
def test_axe_finds_no_violation(pages, browser, kind, width):
    context = browser.new_context(bypass_csp=True, viewport={"width": width, "height": 844})
    page = context.new_page()
    page.goto(pages[kind].as_uri())
    found = axe.Axe().run(page).response
    assert len(found["passes"]) > 10
    assert [f"{item['id']}: {item['nodes'][0]['html'][:200]}" for item in found["violations"]] == []
    context.close()
