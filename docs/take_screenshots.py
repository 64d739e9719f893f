"""Take the README's screenshots from the finished default atlas: the pages that it shows.

    make atlas && make screenshots

Needs Chromium and Playwright (`pip install playwright`; the browser is found on the PATH or given by CHROMIUM).
"""

from __future__ import annotations

import os
import shutil
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from precompute.atlas.files import write_bytes
from precompute.atlas.hdf5 import read_atlas
from precompute.atlas.json_records import read_json
from precompute.records import Concept, Explanation, TruthReport
from sitegen.links import MAP, SEARCH, Links

ROOT = Path(__file__).parents[1]
SITE, DATA, IMAGES = ROOT / "site/world", ROOT / "data/world", ROOT / "docs/images"
WIDTH, HEIGHT = 1280, 900


def find_chromium() -> str:
    """Find the browser; ends with one line where there is none."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        sys.exit("no Chromium found: install it (Debian: apt-get install chromium) or set CHROMIUM to its path")
    return found


def choose_pages() -> dict[str, str]:
    """Choose what to show: the planted shortcut's concept and class, and the explanation in which it is largest."""
    if not (SITE / "index.html").exists():
        sys.exit("there is no site/world: run `make atlas` first")
    truth = read_json(DATA / "truth.json", TruthReport)
    atlas = read_atlas(DATA / "atlas.h5")
    if truth.shortcut is None or not truth.shortcut.concept:
        sys.exit("the atlas has no shortcut to show")
    concept = Concept.parse(truth.shortcut.concept)
    explanations = [read_json(path, Explanation) for path in sorted((DATA / "explanations").glob("*.json"))]
    links = Links(list(atlas.layers), [explanation.id for explanation in explanations])

    def share(explanation: Explanation) -> float:
        layers = (layer for layer in explanation.targets[0].layers if layer.layer == concept.layer)
        return max((layer.shares[concept.channel] for layer in layers), default=0.0)

    return {
        "start": "index.html",
        "concept": links.concept(concept),
        "class": links.class_page(atlas.class_names.index(truth.shortcut.class_name)),
        "explanation": links.explanation(max(explanations, key=share).id),
        "search": f"{SEARCH}?q=watermark",
        "map": MAP,
    }


def main() -> None:
    """Write ``docs/images/<page>.png``, in 256 colours."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        for name, address in choose_pages().items():
            page.goto(f"{SITE.as_uri()}/{address}")
            page.wait_for_load_state("networkidle")
            page.wait_for_timeout(500)  # hits and the map are drawn by scripts
            picture = Image.open(BytesIO(page.screenshot())).convert("RGB").quantize(256)
            target = BytesIO()
            picture.save(target, "PNG", optimize=True)
            write_bytes(IMAGES / f"{name}.png", target.getvalue())
        browser.close()


if __name__ == "__main__":
    main()
