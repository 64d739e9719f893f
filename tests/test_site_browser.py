"""The site as a browser opens it from a file: no error, no request to another host, everything by keyboard."""

from pathlib import Path

import pytest

from sitegen.build import SiteOptions, build_site

from . import site_fixture

CHROMIUM = Path("/usr/bin/chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}")

PAGES = (
    "index.html",
    "explanations/index.html",
    "explanations/photo-01-abcdef.html",
    "concepts/index.html",
    "concepts/layer_features-14.html",
    "concepts/features-14-c2.html",
    "concepts/features-14-c11.html",
    "classes/index.html",
    "classes/class-1.html",
    "classes/samples-1.html",
    "search.html",
    "map.html",
    "compare.html",
    "truth.html",
    "method.html",
    "limits.html",
    "provenance.html",
)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "untrusted"])
def site(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    site_fixture.write_synthetic(folder / "atlas", untrusted=request.param)
    build_site(folder / "site", folder / "atlas", SiteOptions("A world in parts", "What a network sees."))
    return folder / "site"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def watched(browser):
    """Open pages in a window of a given size and collect what goes wrong."""
    faults = []
    contexts = {}

    def open_page(path, *, width=1280, scheme="light", query=""):
        if (width, scheme) not in contexts:
            contexts[width, scheme] = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
        page = contexts[width, scheme].new_page()
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: (faults.append(f"dialog {dialog.message}"), dialog.dismiss()))
        left = "net::ERR_ABORTED"  # the page was left before it had its icon
        page.on("requestfailed", lambda request: request.failure == left or faults.append(f"failed {request.url}"))
        page.on(
            "request",
            lambda request: None if request.url.startswith(("file:", "data:")) else faults.append(request.url),
        )
        page.goto(path.as_uri() + query)
        return page

    yield open_page, faults
    for context in contexts.values():
        context.close()


def test_every_kind_of_page_opens_without_a_fault(site, watched):
    open_page, faults = watched
    for width, scheme in ((1280, "light"), (390, "dark")):
        page = open_page(site / PAGES[0], width=width, scheme=scheme)
        for kind in (*PAGES[1:], PAGES[0]):
            page.goto((site / kind).as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width, kind
        page.close()
    assert faults == []


def test_words_are_found_without_a_server(site, watched):
    open_page, faults = watched
    page = open_page(site / "search.html", query="?q=wheel")
    first = page.locator("#search-hits a.hit").first
    assert "wheel" in first.inner_text()
    assert first.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    page.select_option("select[name=layer]", label="features.7")
    assert "layer=0" in page.url
    assert set(
        page.locator("#search-hits a.hit").evaluate_all("found => found.map(a => a.href.includes('features-7-'))")
    ) == {True}
    page.select_option("select[name=layer]", label="any")
    page.fill("#search-words", "features.14 channel 11")
    assert page.locator("#search-hits a").first.get_attribute("href") == "concepts/features-14-c11.html"
    page.fill("#search-words", "<script>")
    assert page.locator("#search-hits script").count() == 0
    assert faults == []


def test_every_page_suggests_while_one_types_and_arrows_lead_through_it(site, watched):
    open_page, faults = watched
    page = open_page(site / "classes/class-1.html")
    page.locator(".find input").focus()
    page.keyboard.type("weel")
    page.locator(".suggested a.hit").first.wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement === document.querySelector('.suggested a.hit')")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.name") == "q"
    assert not page.locator(".suggested").is_visible()
    page.keyboard.type(" ")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/concepts/*")
    assert faults == []


def test_views_and_audiences_change_by_keyboard(site, watched):
    open_page, faults = watched
    page = open_page(site / "concepts/features-14-c2.html")
    assert page.locator(".v-crop").first.is_visible()
    page.locator("#view-crop").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".v-masked").first.is_visible()
    assert not page.locator(".v-crop").first.is_visible()
    page = open_page(site / "explanations/photo-01-abcdef.html")
    first, second = (page.locator(f".narrative[data-n='{n}']").first for n in (1, 2))
    assert first.is_visible()
    assert not second.is_visible()
    page.locator("#audience-1-1").focus()
    page.keyboard.press("ArrowRight")
    assert second.is_visible()
    assert faults == []


def test_the_menu_opens_by_keyboard_on_a_phone(site, watched):
    open_page, faults = watched
    page = open_page(site / "index.html", width=390)
    page.locator("button.menu").focus()
    page.keyboard.press("Enter")
    assert page.locator("button.menu").get_attribute("aria-expanded") == "true"
    page.get_by_role("link", name="Limits").first.click()
    assert page.url.endswith("limits.html")
    assert faults == []


def test_tables_stay_whole_on_a_phone(site, watched):
    """Layer names stay on one line, and the line under a row is the row's, not one piece for each cell."""
    open_page, _ = watched
    page = open_page(site / "truth.html", width=390)
    heads = page.locator("table.wide tbody th")
    assert heads.evaluate_all("found => found.every(e => getComputedStyle(e).whiteSpace === 'nowrap')")
    page = open_page(site / "classes/class-1.html", width=390)
    below = "found => [...new Set(found.map(e => getComputedStyle(e).borderBottomWidth))]"
    assert page.locator("table.bars tbody tr").evaluate_all(below) == ["1px"]
    assert page.locator("table.bars tbody tr > *").evaluate_all(below) == ["0px"]


def test_classes_beside_their_shares_stand_on_one_line_on_a_phone(site, watched):
    """Of the table that holds the answer against the next class, put into a page of the site."""
    open_page, _ = watched
    page = open_page(site / "classes/class-1.html", width=390)
    heights = page.evaluate(
        """() => {
        const table = document.createElement("table");
        table.className = "reasons contrast";
        const cells = ["lighthouse", "tree"].map(name =>
            `<td class="axis"></td><td><span class="narrow-only">${name} </span>+20.6 %</td>`);
        table.innerHTML = `<tbody><tr><th>door</th>${cells.join("")}</tr></tbody>`;
        document.querySelector("article").append(table);
        return [...table.querySelectorAll("td:not(.axis)")].map(cell => cell.getBoundingClientRect().height);
    }"""
    )
    assert max(heights) < 50
