"""Every page says itself that it runs and loads nothing but what it was made with, and still works."""

import base64
import hashlib
import re
import socket
from pathlib import Path

import pytest

from sitegen.build import SiteOptions, build_site
from sitegen.policy import inline_scripts, move_styles, policy

from . import site_fixture

CHROMIUM = Path("/usr/bin/chromium")
META = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">')
DIRECTIVES = {"default-src", "script-src", "style-src", "img-src", "base-uri", "form-action"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    site_fixture.write_synthetic(folder / "atlas", untrusted=True)
    build_site(folder / "site", folder / "atlas", SiteOptions("A world", "What a network sees."))
    return folder / "site"


def source_of(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_every_page_has_a_strict_policy_before_anything_that_it_governs(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for path in pages:
        text = path.read_text(encoding="utf-8")
        (found,) = META.findall(text)
        rules = dict(part.split(" ", 1) for part in found.split("; "))
        assert rules.keys() == DIRECTIVES
        assert rules["default-src"] == rules["base-uri"] == "'none'"
        assert "unsafe" not in found
        assert "*" not in found
        head = text[: text.index("Content-Security-Policy")]
        assert not re.search(r'<(script|style)\b|rel="stylesheet"', head), path
        assert not re.search(r'\s(style|on[a-z]+)="', text), path


def test_what_stands_in_a_page_is_named_by_its_digest_and_nothing_else_is(site):
    for path in sorted(site.rglob("*.html")):
        text = path.read_text(encoding="utf-8")
        rules = dict(part.split(" ", 1) for part in META.findall(text)[0].split("; "))
        styles = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
        assert rules["style-src"].split() == ["'self'", *map(source_of, styles)]
        assert set(rules["script-src"].split()) == {"'self'", *map(source_of, inline_scripts(text))}


def test_styles_become_rules_and_untrusted_text_stays_what_it_was():
    moved = move_styles(
        '<i style="width:40%"></i><b style="--n:1;--c:2"></b><u style="width:40%">style=&#34;x&#34;</u>'
    )
    assert moved.html == '<i data-s="0"></i><b data-s="1"></b><u data-s="0">style=&#34;x&#34;</u>'
    assert moved.rules == '[data-s="0"][data-s]{width:40%}[data-s="1"][data-s]{--n:1;--c:2}'
    assert move_styles("<p>plain</p>").rules == ""


@pytest.mark.parametrize(
    "style", ["color:red}body{display:none", "background:url(x)", "a:b</style>", "w:'x'", "a:\\2f"]
)
def test_a_style_with_more_than_names_and_numbers_is_refused(style):
    with pytest.raises(ValueError, match="names and numbers only"):
        move_styles(f'<i style="{style}"></i>')


def test_blocks_of_data_need_no_digest():
    page = '<script src="a.js"></script><script id="c" type="application/json">{"a": 1}</script><script>run()</script>'
    assert inline_scripts(page) == ["run()"]
    assert policy(["run()"], "").count("sha256-") == 1


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}")
def test_a_browser_runs_the_page_and_nothing_that_was_smuggled_in(site):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    page_file = site / "concepts" / "features-14-c2.html"
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    smuggled = (
        "<script>document.title = 'ran'</script><img src='x:' onerror=\"document.title = 'ran'\">"
        "<p id='hidden' style='display: none'>shown</p><style>h1 { display: none }</style>"
        "<script src='http://HOST/a.js'></script><link rel='stylesheet' href='http://HOST/a.css'>"
        "<img src='http://HOST/a.png'><iframe src='index.html'></iframe><object data='a.pdf'></object>"
    ).replace("HOST", f"127.0.0.1:{listener.getsockname()[1]}")
    changed = page_file.with_name("changed.html")
    changed.write_text(page_file.read_text(encoding="utf-8").replace("</main>", f"{smuggled}</main>"), encoding="utf-8")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        for path, is_clean in ((page_file, True), (changed, False)):
            faults = []
            page = browser.new_page()
            page.on("console", lambda message, into=faults: into.append(message.text))
            page.goto(path.as_uri())
            assert "ran" not in page.title()
            assert page.locator("h1").first.is_visible()
            assert page.evaluate("typeof __md_get") == "function"  # the theme's inline script ran
            widths = page.evaluate("[...document.querySelectorAll('.bar > span')].map(bar => bar.offsetWidth)")
            assert len(set(widths)) > 1  # the rules that took the place of style attributes hold
            assert bool(faults) is not is_clean, faults
            if not is_clean:
                assert page.locator("#hidden").is_visible()
        browser.close()
    with listener, pytest.raises(BlockingIOError):
        listener.accept()  # nobody came
