"""What a search finds, by the scripts of the site in Node and the index that the site writes."""

import json
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from precompute.atlas.hdf5 import read_atlas, write_atlas
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
const kinds = context.atlasIndex.kinds;
const told = (found) => ({ ...found, groups: undefined, hits: found.groups.map(({ row, more }) => ({
  type: row.type, title: row.title, key: row.key, kind: kinds[row.kind] || "", more: more.map((other) => other.key),
})) });
const asked = JSON.parse(process.argv.at(-1));
console.log(JSON.stringify(asked.map(([text, filter]) => told(search(text, filter)))));
"""
QUESTIONS = {  # what somebody types: what one of the first five hits has to be called, or has to be by kind
    "wheel": "wheel", "wheels": "wheel", "tyre": "wheel", "tire": "wheel", "whel": "wheel", "dark spokes": "spoke",
    "stripes": "striped|banded|lines", "striped": "striped|banded", "wavy lines": "wavy", "rooof": "roof",
    "mark": "=mark", "watermark": "=mark", "logo": "=mark", "stamp": "stamp", "emblem": "emblem|=mark",
    "sticker": "=mark", "beek": "beak", "bill of a bird": "beak", "sth round": "round|ring|disc",
    "something yellow": "yellow", "circle": "round|ring|disc", "eyes": "eye", "pupil": "pupil", "antenna": "feelers",
    "flower": "flower", "blossom": "flower|petal", "ship": "boat|sail|hull", "smokestack": "smokestack",
    "funnel": "smokestack|chimney", "headlight": "lamp", "light": "lamp", "clouds": "sky", "background": "=scene",
    "gate": "door|fence", "door knob": "knob", "buterfly": "butterfly", "fish eye": "fish eye",
    "features.28:83": "=features.28:83", "28:83": "=features.28:83", "tree": "=class tree|tree",
}  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    write_synthetic(folder / "atlas", n_explanations=1, layers={"features.2": 2, "features.28": 90})
    kinds = {"small logo": "mark"}
    names = [
        ConceptName(f"features.28:{channel}", name, "", "offline", kind=kinds.get(name, "part"))
        for channel, name in enumerate(NAMES)
    ]
    names += [ConceptName(f"features.28:{channel}", "twin", "", "offline", kind="part") for channel in (20, 21)]
    unnamed = [name for name in read_jsonl(folder / "atlas/names.jsonl", ConceptName) if name.concept == "features.2:0"]
    write_jsonl(folder / "atlas/names.jsonl", [*names, *unnamed])
    (folder / "atlas/truth.json").unlink()  # its parts would be found too
    build_site(folder / "site", folder / "atlas", SiteOptions(only="concepts/index.html"))
    return folder / "site"


@pytest.fixture(scope="module")
def world_site(tmp_path_factory):
    """Make the index of the names that ship with the project, in layers of the built-in world's sizes."""
    folder = tmp_path_factory.mktemp("questions")
    sizes = {"17": 64, "19": 64, "21": 64, "24": 96, "26": 96, "28": 96}
    write_synthetic(folder / "atlas", layers={f"features.{n}": size for n, size in sizes.items()}, optional=False)
    atlas = read_atlas(folder / "atlas/atlas.h5")
    for tables in atlas.layers.values():
        tables.class_relevance[:] = 0  # no class lends its name to a concept
    write_atlas(folder / "atlas/atlas.h5", atlas)
    lines = (files("precompute.naming") / "recorded_names.jsonl").read_text(encoding="utf-8").splitlines()
    names = [ConceptName(item["concept"], item["name"], item["description"], "offline", kind=item["kind"])
             for item in map(json.loads, lines[1:])]  # fmt: skip
    write_jsonl(folder / "atlas/names.jsonl", names)
    build_site(folder / "site", folder / "atlas", SiteOptions(only="concepts/index.html"))
    return folder / "site"


def search(site, *queries, **filters):
    scripts = [str(site / script) for script in links.SEARCH_SCRIPTS[:-1]]
    asked = json.dumps([(query, filters) for query in queries])
    run = subprocess.run([NODE, "-e", PROGRAM, "program", *scripts, asked], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def titles(found):
    return [hit["title"] for hit in found["hits"]]


def test_what_people_type_finds_what_they_mean(world_site):
    missed = []
    for (question, expected), found in zip(QUESTIONS.items(), search(world_site, *QUESTIONS), strict=True):
        shown = [
            f"{hit['title']} ={hit['kind']} ={hit['key']} ={hit['type']} {hit['title']}" for hit in found["hits"][:5]
        ]
        if not any(re.search(rf"(?:{expected})(?![\w])" if "=" in expected else expected, line) for line in shown):
            missed.append((question, shown))
    assert len(QUESTIONS) == 40
    assert len(missed) <= 4, missed


@pytest.mark.parametrize(("query", "key"), [
    ("features.28:83", "features.28:83"), ("28:83", "features.28:83"), ("FEATURES.28:8", "features.28:8"),
    ("features.28 channel 83", "features.28:83"), ("2:1", "features.2:1"),
])  # fmt: skip
def test_a_key_is_found_first(site, query, key):
    (found,) = search(site, query)
    assert found["hits"][0]["key"] == key
    assert not found["taken"]


def test_words_are_found_by_their_stems(site):
    for found in search(site, "stripes", "stripe", "striped"):
        assert set(titles(found)) >= {"striped awning", "stripe", "grey stripes"}
    for found in search(site, "wheel", "wheels"):
        assert set(titles(found)) >= {"front wheel", "wheels of cars"}


def test_kinds_are_found_and_are_not_taken_for_near_words(site):
    for found in search(site, "mark", "watermark"):
        assert "small logo" in titles(found)
        assert not {"bark", "dark sky"} & set(titles(found))


def test_a_slip_is_forgiven_and_told(site):
    whel, turned, absent = search(site, "whel", "strpies", "zzzzz")
    assert whel["taken"] == [["whel", "wheel"]]
    assert set(titles(whel)) >= {"front wheel", "wheels of cars"}
    assert turned["taken"][0][0] == "strpies"
    assert "grey stripes" in titles(turned)
    assert absent["hits"] == []
    assert absent["absent"] == ["zzzzz"]


def test_every_word_has_to_be_there_where_that_is_possible(site):
    both, some = search(site, "front wheel", "front stripe")
    assert titles(both) == ["front wheel"]
    assert not both["some"]
    assert some["some"]
    assert {"front wheel", "grey stripes"} <= set(titles(some))


def test_hits_can_be_narrowed_and_listed_without_words(site):
    marks, photos, deep = (
        search(site, "", **chosen)[0] for chosen in ({"marked": True}, {"type": "photo"}, {"layer": 0})
    )
    assert titles(marks) == ["small logo"]
    assert {hit["type"] for hit in photos["hits"]} == {"photo"}
    assert {hit["key"].split(":")[0] for hit in deep["hits"]} == {"features.2"}
    assert search(site, "wheel", layer=0)[0]["hits"] == []


def test_concepts_of_one_name_are_one_hit(site):
    (found,) = search(site, "twin")
    assert [(hit["key"], hit["more"]) for hit in found["hits"]] in (
        [("features.28:20", ["features.28:21"])], [("features.28:21", ["features.28:20"])],
    )  # fmt: skip


def test_nothing_and_odd_text_do_no_harm(site):
    odd = ("", "   ", "<zzz>", "__proto__", "constructor", "\u2028", "a" * 2000)
    for query, found in zip(odd, search(site, *odd), strict=True):
        assert found["taken"] or found["hits"] == [], query  # "proto" is near to "photo"


def test_licences_stand_beside_what_was_taken():
    vendor = Path(__file__).parents[1] / "sitegen/assets/vendor"
    told = (vendor / "LICENSES.txt").read_text(encoding="utf-8")
    for script in vendor.glob("*.js"):
        assert script.name in told
        assert "| MIT |" in script.read_text(encoding="utf-8").splitlines()[0]
