"""The names that ship with the project: used where they fit, never elsewhere, and always told as what they are."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from precompute.atlas.records import Author, Concept, ConceptName
from precompute.config import load_config
from precompute.inputs import Inputs
from precompute.naming.namer import ConceptEvidence
from precompute.naming.recorded import RecordedNamer, RecordedNames, Recording, digest_samples, load_recorded
from precompute.naming.rules import checked_names
from tests.drawn_references import drawn_reference

ROOT = Path(__file__).parents[1]
SAMPLES = tuple(f"tree/{index:04d}.png" for index in range(10))


class Other:
    """A namer that says that it was asked."""

    author = "offline"

    def name(self, evidence):
        for item in evidence:
            yield ConceptName(item.concept.key, "asked", "", "offline")


def evidence(key, *samples):
    concept = Concept.parse(key)
    found = (drawn_reference(concept, "relmax", rank, sample_index=index) for rank, index in enumerate(samples))
    return ConceptEvidence(concept, tuple(found))


@pytest.fixture(scope="module")
def recorded():
    """Three of the names that ship, as if they had been given for samples 0 to 3."""
    real = load_recorded()
    names = {key: replace(real.names[key], samples=digest_samples(SAMPLES[:4])) for key in list(real.names)[:3]}
    return RecordedNames(real.recording, names, "digest")


def test_a_recorded_name_is_given_as_it_was(recorded):
    key = next(iter(recorded.names))
    (name,) = RecordedNamer(recorded, SAMPLES, Other()).name([evidence(key, 2, 0, 3, 1, 7, 8)])
    assert name.by == Author("recorded", "claude")
    assert (name.author, name.date, name.recorded) == ("llm:claude", "2026-11-24", True)
    assert (name.name, name.description) == (recorded.names[key].name, recorded.names[key].description)


def test_other_reference_samples_are_left_to_the_other_namer(recorded):
    first, second, third = recorded.names
    asked = [evidence(first, 0, 1, 2, 4), evidence(second), evidence(third, 3, 2, 1, 0), evidence("new:0", 0, 1, 2, 3)]
    names = list(RecordedNamer(recorded, SAMPLES, Other()).name(asked))
    assert [name.name == "asked" for name in names] == [True, True, False, True]
    assert [name.recorded for name in names] == [False, False, True, False]


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


def test_what_ships_is_of_the_network_that_ships():
    config = load_config(ROOT / "data/world.toml")
    assert config.naming.namer == "recorded"
    assert Inputs(config).model.weights_digest == load_recorded().recording.weights_digest
