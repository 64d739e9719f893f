"""What is shown beside a name: measured hit rates, never what a namer claims."""

import pytest

from precompute.naming.recorded import load_recorded
from precompute.records import Author, ChoiceScore, ConceptName, ConceptScore
from precompute.records.reliability import (
    MARKS,
    MEASURED,
    NO_NAME_HOLDS,
    choice_words,
    is_description,
    measured_band,
    reliability_words,
)


def name(author="llm:claude", confidence=0.8, **more):
    return ConceptName("c:0", "wheel", "", author, confidence=confidence, **more)


@pytest.mark.parametrize(("confidence", "words"), [(0.95, "of 172"), (0.9, "of 172"), (0.89, "of 125"), (0, "of 41")])
def test_a_recorded_name_is_in_the_band_of_its_claim(confidence, words):
    assert words in reliability_words(name(confidence=confidence, recorded=True))


@pytest.mark.parametrize("author", ["llm:claude", "llm:gpt-5-mini", "person:Ada"])
def test_nothing_is_said_where_nothing_was_measured(author):
    """Not even for the same model asked again: other sheets, other names."""
    assert measured_band(name(author)) is None
    assert reliability_words(name(author)) == ""


def test_a_failure_has_no_reliability():
    assert reliability_words(name(recorded=True, failure="no reply")) == ""


def test_offline_marks_are_names_and_the_rest_describes_measurements():
    mark, spot = name("offline", kind="mark"), name("offline", 0.99, kind="texture")
    assert measured_band(mark) == MARKS
    assert "of 58 marks" in reliability_words(mark)
    assert measured_band(spot) is None
    assert is_description(spot)
    assert not is_description(mark)
    assert "not tested as a name" in reliability_words(spot)


def test_the_bands_are_of_the_names_that_ship():
    """No more names in a band than were recorded with such a claim, and nearly all of them: few show no known part."""
    recorded = load_recorded()
    bands = MEASURED[Author("recorded", recorded.recording.author.removeprefix("llm:"))]
    upper = 2.0
    for band in bands:
        n = sum(band.at_least <= found.confidence < upper for found in recorded.names.values())
        assert 0 <= band.n_right <= band.n_names <= n
        assert band.n_names >= 0.7 * n
        upper = band.at_least
    assert sum(band.n_right for band in bands) == 310
    assert sum(band.n_names for band in bands) == 382


@pytest.mark.parametrize(
    ("random", "hard", "words"),
    [
        ((1, 0), (1, 0), ""),  # one choice says nothing
        ((2, 0), (2, 0), NO_NAME_HOLDS),
        ((2, 0), None, NO_NAME_HOLDS),
        ((2, 0), (2, 1), "the name finds its images sometimes"),
        ((2, 1), (2, 2), "the name finds its images sometimes"),
        ((2, 2), (2, 1), "the name finds its images among random ones"),
        ((2, 2), (2, 2), "the name finds its images, also among those most like them"),
        (None, (2, 2), ""),
    ],
)
def test_forced_choices_are_said_by_one_table(random, hard, words):
    choices = [ChoiceScore(kind, *counts) for kind, counts in (("random", random), ("hard", hard)) if counts]
    assert choice_words(ConceptScore("c:0", choices=tuple(choices))) == words
