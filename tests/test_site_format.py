"""docs/site-format.md names every key that a program meets beside the pages, and no other."""

import json
import re
from pathlib import Path

import pytest

from sitegen.build import SiteOptions, build_site

from . import site_fixture

TEXT = (Path(__file__).parents[1] / "docs/site-format.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("format")
    site_fixture.write_synthetic(folder / "atlas")
    build_site(folder / "site", folder / "atlas", SiteOptions())
    return folder / "site"


def documented(title):
    section = TEXT.split(f"## {title}\n")[1].partition("\n## ")[0]
    return {
        key
        for line in section.splitlines()
        if line.startswith("| `")
        for key in re.findall(r"`(\w+)`", line.split("|")[1])
    }


@pytest.mark.parametrize(("title", "address"), [
    ("One concept", "concepts/features-14-c2.json"), ("One class", "classes/class-1.json"),
    ("`window.atlasIndex`", "assets/search-index.js"), ("`window.atlasMap`", "assets/map-data.js"),
    ("`window.atlasCompare`", "assets/compare-data.js"),
])  # fmt: skip
def test_every_key_is_told(site, title, address):
    text = (site / address).read_text(encoding="utf-8")
    data = json.loads(text.partition("=")[2].removesuffix(";\n") if address.endswith(".js") else text)
    assert set(data) == documented(title)


def test_every_kind_of_file_is_told(site):
    for path in site.rglob("*"):
        address = path.relative_to(site).as_posix()
        if (path.is_file() and path.suffix in (".json", ".csv", ".sha256")) or address.endswith(
            ("-data.js", "-index.js")
        ):
            pattern = re.sub(r"features-\d+", "<layer>", address)
            pattern = re.sub(r"-c\d+", "-c<channel>", re.sub(r"class-\d+", "class-<index>", pattern))
            pattern = re.sub(r"explanations/[\w-]+", "explanations/<id>", pattern)
            assert f"`{pattern}`" in TEXT, address
