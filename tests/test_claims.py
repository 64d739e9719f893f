import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from precompute.atlas.records import Narrative, Statement
from precompute.explanations.table import negated
from precompute.narratives.claims import KINDS, Claim, check, number_faults, numbers_in
from precompute.narratives.languages import find_language
from precompute.narratives.narrator import read_reply
from tests.narrative_table import concept_names, table

REPLIES = Path(__file__).parent / "replies"
BAD_REPLIES = sorted((REPLIES / "explaining").glob("*.json"))
ENGLISH = find_language("en")
BASE = [
    Claim("contribution", "{name:C1} supports {class} with {share:C1}.", ("C1",)),
    Claim("opposition", "{name:C2} speaks against {class}, with {magnitude:C2}.", ("C2",)),
    Claim("coverage", "The concepts shown carry {coverage:L1} of the relevance.", ()),
]


def codes(claim, of=None, language=ENGLISH):
    return {problem.code for problem in check([*BASE, claim], of or table(), language)}


def test_there_are_enough_bad_replies():
    assert len(BAD_REPLIES) >= 60


@pytest.mark.parametrize("path", BAD_REPLIES, ids=lambda path: path.stem)
def test_each_bad_reply_is_refused_for_the_right_reason(path):
    kept = json.loads(path.read_text(encoding="utf-8"))
    _, problems = read_reply(kept["reply"], table(), find_language(kept["language"]))
    assert {problem.code for problem in problems} == {kept["reason"]}
    assert all(problem.message for problem in problems)


GERMAN_BASE = [
    Claim("contribution", "{name:C1} spricht mit {share:C1} für {class}.", ("C1",)),
    Claim("opposition", "{name:C2} spricht mit {magnitude:C2} gegen {class}.", ("C2",)),
    Claim("coverage", "Die gezeigten Konzepte tragen {coverage:L1} der Relevanz.", ()),
]


def kept_statements(name):
    return [json.loads(line) for line in (REPLIES / name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("kept", kept_statements("paraphrases.jsonl"), ids=lambda kept: kept["text"])
def test_no_paraphrase_says_what_the_table_does_not(kept):
    base = BASE if kept["language"] == "en" else GERMAN_BASE
    language = find_language(kept["language"])
    assert check(base, table(), language) == []
    assert check([*base, Claim(kept["kind"], kept["text"], tuple(kept["cites"]))], table(), language)


@pytest.mark.parametrize("kept", kept_statements("true.jsonl"), ids=lambda kept: kept["text"])
def test_plain_true_statements_are_let_through(kept):
    assert check([*BASE, Claim(kept["kind"], kept["text"], tuple(kept["cites"]))], table(), ENGLISH) == []


def test_a_generated_sentence_is_let_through_only_where_it_holds():
    doubt = Claim("uncertainty", ENGLISH.sentences["plain_doubt"])
    assert codes(doubt) == {"word_unknown"}
    assert codes(doubt, table(probability=0.4)) == set()
    person = Claim("caveat", ENGLISH.sentences["names_person"])
    assert codes(person) == set()
    nobody = {key: replace(name, author="offline") for key, name in concept_names().items()}
    assert codes(person, table(nobody)) == {"word_unknown"}


@pytest.mark.parametrize("code", ["en", "de"])
def test_a_sum_is_called_equal_to_the_logit_only_where_it_is_printed_so(code):
    language, base = find_language(code), BASE if code == "en" else GERMAN_BASE
    claim = Claim("conservation", language.sentences["expert_conserved"].replace("$l", "L1"))
    assert {problem.code for problem in check([*base, claim], table(), language)} == {"order"}
    assert check([*base, claim], table(logit=10.9), language) == []


GOOD = [
    Claim("observation", "{name:C1} has the largest share, {share:C1}.", ("C1",)),
    Claim("observation", "{name:C1} is the strongest concept of {layer:C1}; no one should read it as a fact.", ("C1",)),
    Claim("opposition", "{name:C2} has the largest share against {class}.", ("C2",)),
    Claim("comparison", "{name:C1} carries more relevance than {name:C3}.", ("C1", "C3")),
    Claim("observation", "{name:C3} has a smaller share than {name:C2}.", ("C3", "C2")),
    Claim("location", "{name:C1} lies in the upper left: {place:C1}.", ("C1",)),
    Claim("location", "{name:C3} takes up {area:C3} of the photo.", ("C3",)),
    Claim("contrast", "{class} is rated higher than {runner_up}, which has {runner_up_probability}.", ()),
    Claim("contrast", "For {runner_up}, the share of {name:C1} is {runner_up_share:C1}.", ("C1",)),
    Claim("composition", "Of what {name:C1} passed down, {name:C1.1} received {share:C1.1}.", ("C1", "C1.1")),
    Claim("not_used", "The remaining {uncovered:L1} is not described; one can read it in the table.", ()),
    Claim("caveat", "A positive share supports a class, a negative one speaks against it.", ()),
    Claim("caveat", "The names are guesses, and one of them may be wrong.", ()),
    Claim("uncertainty", "The probability of {class} is {probability}.", ()),
    Claim("conservation", "The relevance of {layer:L1} sums to {relevance_sum:L1}.", ()),
]


@pytest.mark.parametrize("claim", GOOD, ids=lambda claim: claim.text)
def test_what_the_table_supports_is_let_through(claim):
    assert check([*BASE, claim], table(), ENGLISH) == []


@pytest.mark.parametrize("relation", ["carries more relevance than", "outweighs", "has a larger share than"])
def test_order_is_let_through_exactly_where_it_holds(relation):
    for larger, smaller in ((1, 2), (2, 3), (3, 4), (1, 4)):
        for first, second in ((larger, smaller), (smaller, larger)):
            claim = Claim(
                "observation", f"{{name:C{first}}} {relation} {{name:C{second}}}.", (f"C{first}", f"C{second}")
            )
            assert (codes(claim) == {"order"}) is (first > second)


@pytest.mark.parametrize("word", ["supports", "is in favour of", "counts for", "contributes to", "strengthens"])
def test_words_for_a_class_follow_the_sign(word):
    for number, share in ((1, 0.09), (2, -0.05), (3, 0.04), (4, -0.01)):
        claim = Claim("observation", f"{{name:C{number}}} {word} {{class}}.", (f"C{number}",))
        assert codes(claim) == (set() if share > 0 else {"sign"})


def test_under_a_negative_score_nothing_is_for_or_against():
    below = table(logit=-3.2)
    told = [
        Claim("opposition", "{name:C1} has {share:C1}, opposite in sign to the score.", ("C1",)),
        Claim("contribution", "{name:C2} has the sign of the score.", ("C2",)),
        Claim("coverage", "The concepts shown carry {coverage:L1}.", ()),
    ]
    assert check(told, below, ENGLISH) == []
    supports = Claim("observation", "{name:C2} supports {class}.", ("C2",))
    assert {p.code for p in check([*told, supports], below, ENGLISH)} == {"sign_of_negative_score"}
    same = Claim("observation", "{name:C1} has the sign of the score.", ("C1",))
    assert {p.code for p in check([*told, same], below, ENGLISH)} == {"sign"}


def test_a_zero_share_is_neither_for_nor_against():
    flat = table(shown=((0, 0.3, "centre", ()), (1, 0.0, "centre", ())), layers=None)
    for kind in ("contribution", "opposition"):
        assert "sign" in codes(Claim(kind, "{name:C2} has {share:C2}.", ("C2",)), flat)


def test_a_contrast_needs_a_runner_up():
    claim = Claim("contrast", "{runner_up} comes next.", ())
    assert codes(claim, table(rival=None)) == {"value_absent"}
    assert codes(Claim("contrast", "There is another class.", ()), table(rival=None)) == {"no_runner_up"}


def test_equal_shares_have_no_strongest_one():
    equal = table(shown=((0, 0.2, "centre", ()), (1, 0.2, "centre", ())))
    claim = Claim("observation", "{name:C1} is the strongest concept.", ("C1",))
    assert {p.code for p in check([claim, BASE[2]], equal, ENGLISH)} == {"rank"}


def test_negating_the_table_turns_what_is_let_through_around():
    turned = negated(table())
    assert {p.code for p in check(BASE, table(), ENGLISH)} == set()
    assert {p.code for p in check(BASE, turned, ENGLISH)} == {"sign"}
    swapped = [
        Claim("opposition", "{name:C1} speaks against {class} with {share:C1}.", ("C1",)),
        Claim("contribution", "{name:C2} supports {class} with {share:C2}.", ("C2",)),
        BASE[2],
    ]
    assert check(swapped, turned, ENGLISH) == []


def test_permuting_the_shares_refuses_an_order_that_held():
    shown = [(0, 0.09), (1, 0.05), (2, 0.03)]
    claims = [
        Claim("comparison", "{name:C1} has a larger share than {name:C3}.", ("C1", "C3")),
        Claim("observation", "{name:C1} is the strongest concept.", ("C1",)),
        BASE[2],
    ]
    for seed in range(20):
        shares = [share for _, share in shown]
        random.Random(seed).shuffle(shares)
        made = table(shown=tuple((channel, 0.09, "centre", ()) for channel, _ in shown))
        rows = tuple(
            replace(row, share=shares[row.channel], rank=sorted(shares, reverse=True).index(shares[row.channel]))
            if row.layer == "features.28"
            else row
            for row in made.concepts
        )
        found = {problem.code for problem in check(claims, replace(made, concepts=rows), ENGLISH)}
        expected = {"order"} if shares[0] < shares[2] else set()
        expected |= {"rank"} if shares[0] != max(shares) else set()
        assert found == expected


def test_without_a_lexicon_the_structural_checks_hold():
    french = find_language("fr")
    base = [
        Claim("contribution", "{name:C1} a une part de {share:C1}.", ("C1",)),
        Claim("opposition", "{name:C2} a une part de {share:C2}.", ("C2",)),
        Claim("coverage", "Au total {coverage:L1}.", ()),
    ]
    assert check(base, table(), french) == []
    for text, code in (("{name:C3} a 40.", "digit"), ("{name:C3} a <b>.", "markup"), ("{name:C9}.", "concept_unknown")):
        claim = Claim("observation", text, ("C9" if "C9" in text else "C3",))
        assert {p.code for p in check([*base, claim], table(), french)} == {code}
    wrong = Claim("contribution", "{name:C2} a une part de {share:C2}.", ("C2",))
    assert {p.code for p in check([*base, wrong], table(), french)} == {"sign"}


def test_common_words_may_be_concept_names():
    from tests.narrative_table import concept_names

    names = concept_names()
    names["features.28:3"] = replace(names["features.28:0"], concept="features.28:3", name="relevance")
    assert check(BASE, table(names), ENGLISH) == []


def test_every_kind_can_be_said_in_the_prompts():
    from precompute.llm.prompts import load_prompt

    for audience in ("expert", "stakeholder"):
        schema = load_prompt(f"explaining/{audience}").schema
        assert schema["properties"]["statements"]["items"]["properties"]["kind"]["enum"] == list(KINDS)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("it has +8.9\u00a0% and \u22123.2\u00a0% of 64", [0.089, -0.032, 64]),
        ("es hat 8,9\u00a0% und \u221211,20", [0.089, -11.2]),
        ("<\u00a00.1\u00a0%, >\u00a0\u22120.1\u00a0%, >\u00a099.9\u00a0%", [0.001, -0.001, 0.999]),
        ("nothing", []),
    ],
)
def test_numbers_are_read_back(text, values):
    assert [number.value for number in numbers_in(text)] == pytest.approx(values)


@pytest.mark.parametrize(
    ("printed", "raw", "agrees"),
    [
        ("8.9\u00a0%", 0.0894, True), ("8.9\u00a0%", 0.0896, False), ("8.9\u00a0%", -0.089, False),
        ("<\u00a00.1\u00a0%", 0.0003, True), ("<\u00a00.1\u00a0%", 0.0, False), ("<\u00a00.1\u00a0%", -0.0003, False),
        (">\u00a0\u22120.1\u00a0%", -0.0003, True), ("0\u00a0%", 0.0, True), ("0\u00a0%", 0.0003, False),
        ("100\u00a0%", 1.0, True), ("100\u00a0%", 0.9999, False), (">\u00a099.9\u00a0%", 0.9999, True),
    ],
)  # fmt: skip
def test_a_printed_number_agrees_with_what_prints_so(printed, raw, agrees):
    assert numbers_in(printed)[0].agrees(raw) is agrees


def test_a_wrong_number_is_found():
    template = "{name:C1} has {share:C1}."
    right = Statement(template, "“green scales” has +9.0\u00a0%.", ("features.28:0",))
    assert number_faults(Narrative("a", "generated", (right,)), table(), ENGLISH) == []
    for text in (
        "“green scales” has +40.6\u00a0%.",
        "“green scales” has \u22129.0\u00a0%.",
        "“green eye” has +9.0\u00a0%.",
        "“green scales” has 9 things +9.0\u00a0%.",
        "“green scales” has +9.0.",
    ):
        assert number_faults(Narrative("a", "generated", (replace(right, text=text),)), table(), ENGLISH)
    typed = Statement("{name:C1} has 40.", "“green scales” has 40.", ())
    assert number_faults(Narrative("a", "generated", (typed,)), table(), ENGLISH)
