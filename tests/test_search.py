"""What a search finds, by the scripts of the site in Node and the index that the site writes."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from precompute.atlas.json_records import read_jsonl, write_jsonl
from precompute.records import ConceptName
from sitegen import links
from sitegen.build import SiteOptions, build_site
from tests.site_fixture import write_synthetic

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="there is no Node.js to run the site's scripts")
NAMES = ("striped awning", "stripe", "grey stripes", "front wheel", "wheels of cars", "bark", "small logo", "dark sky")

PROGRAM = """
const fs = require("fs"), vm = require("vm");
const context = { console };
context.window = context.globalThis = context;
vm.createContext(context);
for (const path of process.argv.slice(2, -1)) vm.runInContext(fs.readFileSync(path, "utf8"), context, path);
const search = context.atlasSearch(context.atlasIndex);
const told = (hits) => ({
  near: hits.near, titles: hits.rows.map((row) => row[2]), keys: hits.rows.map((row) => row[6]),
});
console.log(JSON.stringify(JSON.parse(process.argv.at(-1)).map(search).map(told)));
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    write_synthetic(folder / "atlas", n_explanations=1, layers={"features.2": 2, "features.28": 90})
    kinds = {"small logo": "mark"}
    names = [
        ConceptName(f"features.28:{channel}", name, "", "offline", kind=kinds.get(name, "part"))
        for channel, name in enumerate(NAMES)
    ]
    unnamed = [name for name in read_jsonl(folder / "atlas/names.jsonl", ConceptName) if name.concept == "features.2:0"]
    write_jsonl(folder / "atlas/names.jsonl", [*names, *unnamed])
    (folder / "atlas/truth.json").unlink()  # its parts would be found too
    build_site(folder / "site", folder / "atlas", SiteOptions(only="concepts/index.html"))
    return folder / "site"


def search(site, *queries):
    scripts = [str(site / script) for script in links.SEARCH_SCRIPTS]
    run = subprocess.run(
        [NODE, "-e", PROGRAM, "program", *scripts, json.dumps(queries)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize(("query", "key"), [
    ("features.28:83", "features.28:83"), ("28:83", "features.28:83"), ("FEATURES.28:8", "features.28:8"),
    ("features.28 channel 83", "features.28:83"), ("2:1", "features.2:1"),
])  # fmt: skip
def test_a_key_is_found_first(site, query, key):
    (found,) = search(site, query)
    assert found["keys"][0] == key
    assert not found["near"]


def test_words_are_found_by_their_stems(site):
    for found in search(site, "stripes", "stripe", "striped"):
        assert set(found["titles"]) == {"striped awning", "stripe", "grey stripes"}
    for found in search(site, "wheel", "wheels"):
        assert set(found["titles"]) >= {"front wheel", "wheels of cars"}


def test_kinds_are_found_and_are_not_taken_for_near_words(site):
    (found,) = search(site, "mark")
    assert "small logo" in found["titles"]
    assert not {"bark", "dark sky"} & set(found["titles"])


def test_one_slip_is_forgiven_and_told(site):
    whel, weel, absent = search(site, "whel", "strpies wheel", "zzzzz")
    assert whel["near"]
    assert set(whel["titles"]) >= {"front wheel", "wheels of cars"}
    assert absent == {"near": False, "titles": [], "keys": []}
    assert weel["titles"] == []


def test_every_word_has_to_be_there(site):
    found, none = search(site, "front wheel", "front stripe")
    assert found["titles"] == ["front wheel"]
    assert none["titles"] == []


def test_nothing_and_odd_text_do_no_harm(site):
    odd = ("", "   ", "<zzz>", "__proto__", "constructor", "\u2028", "a" * 2000)
    for query, found in zip(odd, search(site, *odd), strict=True):
        assert found["near"] or found["titles"] == [], query  # "proto" is near to "photo"


def test_licences_stand_beside_what_was_taken():
    vendor = Path(__file__).parents[1] / "sitegen/assets/vendor"
    told = (vendor / "LICENSES.txt").read_text(encoding="utf-8")
    for script in vendor.glob("*.js"):
        assert script.name in told
        assert "| MIT |" in script.read_text(encoding="utf-8").splitlines()[0]
