"""The names that ship with the project: used where they fit, never elsewhere, and always told as what they are."""

import inspect
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from precompute.config import load_config
from precompute.inputs import Inputs
from precompute.naming.namer import ConceptEvidence
from precompute.naming.recorded import (
    RecordedNamer,
    RecordedNames,
    Recording,
    best_samples,
    digest_samples,
    load_recorded,
)
from precompute.naming.rules import checked_names
from precompute.records import Author, ConceptName
from precompute.stages.names import NameStage
from tests.site_fixture import make_atlas

ROOT = Path(__file__).parents[1]


class Other:
    """A namer that says that it was asked."""

    author = "offline"

    def name(self, evidence):
        for item in evidence:
            yield ConceptName(item.concept.key, "asked", "", "offline")


@pytest.fixture
def atlas():
    """An atlas of three concepts, whose samples are called like the world's."""
    return make_atlas({"features.28": 3}, 30, untrusted=False)


@pytest.fixture
def recorded(atlas):
    """The first names that ship, as if they had been given for the best four samples of that atlas."""
    real = load_recorded()
    found = zip(atlas.concepts(), real.names.values(), strict=False)
    names = {
        concept.key: replace(name, concept=concept.key, samples=digest_samples(best_samples(atlas, concept, 4)))
        for concept, name in found
    }
    return RecordedNames(real.recording, names, "digest")


def named(recorded, atlas):
    return list(RecordedNamer(recorded, atlas, Other()).name([ConceptEvidence(c, ()) for c in atlas.concepts()]))


def test_a_recorded_name_is_given_as_it_was(recorded, atlas):
    name = named(recorded, atlas)[0]
    assert name.by == Author("recorded", "claude")
    assert (name.author, name.date, name.recorded) == ("llm:claude", "2026-11-24", True)
    expected = recorded.names[name.concept]
    assert (name.name, name.description) == (expected.name, expected.description)


def test_other_reference_samples_are_left_to_the_other_namer(recorded, atlas):
    """The order of the four best does not matter, nor what comes after them; another sample among them does."""
    table = atlas.layers["features.28"].relmax.sample_index
    table[:4, 0] = table[3::-1, 0]
    table[4:, 0] = table[:3:-1, 0]
    table[3, 1] = next(index for index in range(30) if index not in table[:4, 1])
    names = named(recorded, atlas)
    assert [name.recorded for name in names] == [True, False, False]  # the last channel is silent: it has no samples
    assert [name.name == "asked" for name in names] == [False, True, True]


def test_names_made_again_from_other_references_are_never_recorded_ones():
    """Else a recorded name would agree with itself and be called steady."""
    assert "RecordedNamer" not in inspect.getsource(NameStage.make_namer)


@pytest.mark.parametrize(
    ("weights", "kind", "fits"), [("w", "world", True), ("v", "world", False), ("w", "folders", False)]
)
def test_other_weights_or_data_are_never_named(weights, kind, fits):
    names = RecordedNames(Recording("llm:x", "", "w", "world", "", ""), {}, "")
    provenance = {"weights_digest": weights, "config": {"dataset": {"kind": kind}}}
    assert names.fit(SimpleNamespace(provenance=provenance)) is fits
    assert not names.fit(SimpleNamespace(provenance={}))


def test_what_ships_keeps_the_rules_of_names():
    names = load_recorded().names
    assert len(names) == 403
    for name in names.values():
        assert checked_names(name.name, name.second_name) == (name.name, name.second_name)
        assert name.kind in {"object", "part", "texture", "colour", "scene", "mark", "other"}
        assert 0 <= name.confidence <= (0.5 if name.second_name else 1)
        assert len(name.description) > 10


def test_what_ships_is_of_the_network_that_ships(tmp_path):
    config = load_config(ROOT / "data/world.toml")
    assert config.naming.namer == "recorded"
    assert Inputs(config, tmp_path).model.weights_digest == load_recorded().recording.weights_digest
