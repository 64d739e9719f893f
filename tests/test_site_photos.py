"""Whole images that share files: each is where its address says, and a browser shows that one and no other."""

import base64
import io
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from precompute.atlas.hdf5 import ReferenceReader
from precompute.records import MISSING, RANKINGS
from sitegen import photos
from sitegen.build import SiteOptions, build_site
from sitegen.links import Links
from sitegen.photos import MOST_FILES, PhotoFiles, plan_photos

from . import site_fixture

CHROMIUM = Path("/usr/bin/chromium")
IMAGE = re.compile(r'<image id="s(\d+)" [^>]*href="data:image/webp;base64,([^"]+)"/>')


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos") / "atlas"
    site_fixture.write_synthetic(folder)
    return folder


def build_shared(source, output, monkeypatch):
    monkeypatch.setattr(photos, "MOST_FILES", 12)
    build_site(output, source, SiteOptions())
    return output


def test_few_have_a_file_each():
    assert plan_photos(dict.fromkeys(range(MOST_FILES), 0), Links(())) == {}


@pytest.mark.parametrize("n_classes", [1, 40, 1000, 1999, 2500])
def test_many_share_about_so_many_files(n_classes):
    class_of = {sample: sample % n_classes for sample in range(30_000)} | {30_000: MISSING}
    plan = plan_photos(class_of, Links(()))
    files = set(plan.values())
    assert len(files) <= max(MOST_FILES, n_classes + 1)
    assert len(files) > MOST_FILES / 2  # no more in one than is needed
    assert plan[30_000] == "photos/no-class-0.svg"
    by_file = Counter()
    for sample, address in plan.items():
        assert address.startswith(f"photos/class-{class_of[sample]}-") or sample == 30_000
        by_file[address] += 1
    assert max(by_file.values()) <= -(-30_000 // MOST_FILES) * 2


def test_each_image_is_put_in_once_as_it_was_stored(tmp_path):
    contents = {sample: site_fixture.encode(site_fixture.picture(sample), "WEBP") for sample in (3, 5, 8)}
    files = PhotoFiles(tmp_path, {3: "photos/class-1-0.svg", 5: "photos/class-1-0.svg"}, lambda _: "photos/alone.webp")
    addresses = [files.address_of(sample, contents[sample], lambda _: (64, 48)) for sample in (5, 3, 8, 5, 8)]
    files.close()
    assert addresses == [f"photos/class-1-0.svg#s{n}" if n else "photos/alone.webp" for n in (5, 3, 0, 5, 0)]
    assert (tmp_path / "photos/alone.webp").read_bytes() == contents[8]
    text = (tmp_path / "photos/class-1-0.svg").read_text(encoding="ascii")
    assert [(int(n), base64.b64decode(blob)) for n, blob in IMAGE.findall(text)] == [(n, contents[n]) for n in (5, 3)]
    assert text.endswith("</svg>\n")
    assert 'viewBox="0 0 64 48"' in text


def test_pages_lead_to_the_image_that_was_stored(source, tmp_path, monkeypatch):
    site = build_shared(source, tmp_path / "site", monkeypatch)
    stored = {}
    with ReferenceReader(source / "references.h5") as reader:
        for concept in reader.concepts():
            for ranking in RANKINGS:
                stored |= {item.sample_index: item.full for item in reader.read(concept, ranking)}
    named = set()
    for page in site.rglob("*.html"):
        for address in re.findall(r'src="([^"]*photos/[^"]*)"', page.read_text(encoding="utf-8")):
            path, _, name = address.partition("#s")
            assert path.endswith(".svg")
            named.add(((page.parent / path).resolve(), int(name)))
    assert len(named) > 12 >= len({path for path, _ in named})
    for path, sample in named:
        held = {int(n): blob for n, blob in IMAGE.findall(path.read_text(encoding="ascii"))}
        assert base64.b64decode(held[sample]) == stored[sample]
    files = {path.name for path in (site / "photos").iterdir()}
    assert files == {path.name for path, _ in named}


def test_without_whole_images_there_are_no_shared_files(source, tmp_path, monkeypatch):
    monkeypatch.setattr(photos, "MOST_FILES", 12)
    for options in (SiteOptions(include_images=False), SiteOptions(include_crops_only=True)):
        build_site(tmp_path / "site", source, options)
        assert not (tmp_path / "site/photos").exists()
        assert not any(b"data:image/webp" in path.read_bytes() for path in (tmp_path / "site").rglob("*.svg"))


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}")
def test_a_browser_shows_the_image_named(source, tmp_path, monkeypatch):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    site = build_shared(source, tmp_path / "site", monkeypatch)
    page_file = next(
        path for path in sorted((site / "classes").glob("samples-*.html")) if path.read_text("utf-8").count("#s") > 2
    )
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        faults = []
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.goto(page_file.as_uri())
        shown = page.locator("img[src*='photos/']")
        seen = []
        for place in range(min(4, shown.count())):
            shown.nth(place).scroll_into_view_if_needed()
            page.wait_for_function(
                "image => image.complete && image.naturalWidth > 0", arg=shown.nth(place).element_handle()
            )
            address = shown.nth(place).get_attribute("src")
            picture = Image.open(io.BytesIO(shown.nth(place).screenshot())).convert("RGB")
            seen.append(SimpleNamespace(address=address, picture=picture))
        browser.close()
    assert not faults
    assert len(seen) > 2
    for item in seen:
        path, _, name = item.address.partition("#s")
        held = dict(IMAGE.findall((page_file.parent / path).resolve().read_text(encoding="ascii")))
        expected = Image.open(io.BytesIO(base64.b64decode(held[name]))).convert("RGB").resize(item.picture.size)
        inner = slice(6, -6)  # the frame around a picture may have round corners
        difference = np.abs(np.asarray(item.picture, float) - np.asarray(expected, float))[inner, inner].mean()
        assert difference < 6
