"""Random tables and random plans, worded for every audience in every language: what must hold of every text."""

import json
import re
from collections import Counter
from dataclasses import replace
from functools import cache, lru_cache
from itertools import chain, combinations, product
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.narrative_numbers import Values, faults_of
from precompute.atlas.json_records import to_json
from precompute.errors import ConfigError
from precompute.narratives.audiences import AUDIENCES, find_audience
from precompute.narratives.facts import FACT_KINDS, derive_facts
from precompute.narratives.plan import RELATIONS, Plan, Sentence, built_in_plan, settle
from precompute.narratives.realiser import Teller, narrate
from precompute.narratives.wording import Slots, Wording, find_wording, languages, message_folder
from precompute.records import ConceptName, LocalName
from tests.many_examples import examples
from tests.random_predictions import CLASSES, NAMES, random_prediction

BOTH = [(audience, language) for audience in AUDIENCES for language in ("en", "de")]


@lru_cache(maxsize=1024)
def facts_of(seed):
    return derive_facts(random_prediction(seed).table())


@lru_cache(maxsize=1024)
def word(seed, audience, language, plan=None):
    """Make one random table and word it; several tests read the same texts."""
    table, facts = random_prediction(seed).table(), facts_of(seed)
    chosen = find_audience(audience)
    return table, facts, narrate(table, facts, chosen, find_wording(language, audience, chosen.decimals), plan=plan)


def text_pieces(narrative):
    return [piece for statement in narrative.statements for piece in statement.pieces]


def faults(raw, narrative):
    """Compare every number with the raw records, by the check that finished atlases are held to."""
    explanation, target, read = (json.loads(to_json(each)) for each in (raw.explanation, raw.target, narrative))
    atlas = raw.atlas()
    return faults_of(read, KnownBand(explanation, target, atlas, raw.names, raw.accuracy), Counter())


class KnownBand(Values):
    """With a given count of right predictions: random tables have no samples to count."""

    def __init__(self, explanation, target, atlas, names, accuracy):
        super().__init__(explanation, target, atlas, names)
        self.accuracy = accuracy

    def _band(self):
        band = self.accuracy
        return band.least, band.below, band.n_right, band.n_samples


@pytest.mark.parametrize(("audience", "language"), BOTH)
def test_every_number_is_the_tables_and_stands_once(audience, language):
    n_numbers = 0
    for seed in range(60):
        raw = random_prediction(seed)
        _, _, narrative = word(seed, audience, language)
        assert faults(raw, narrative) == []
        n_numbers += sum(piece.kind == "number" for piece in text_pieces(narrative))
    assert n_numbers > 120  # two in each text, however short an audience wants it


def fact_ids(seed, audience):
    table = random_prediction(seed).table()
    return [fact.id for fact in find_audience(audience).concerns(facts_of(seed), table)]


@st.composite
def tables_and_plans(draw):
    """A seed of a random table and any plan over its facts: repeated, empty and senseless ones among them."""
    seed = draw(st.integers(0, 5000))
    audience, language = draw(st.sampled_from(BOTH))
    ids = st.sampled_from(fact_ids(seed, audience))
    sentence = st.builds(Sentence, st.lists(ids, max_size=5).map(tuple), st.sampled_from(RELATIONS))
    paragraphs = st.lists(st.lists(sentence, max_size=4).map(tuple), max_size=5).map(tuple)
    return seed, audience, language, Plan(draw(sentence), draw(paragraphs))


MARK_BEFORE_LEAD = (377, "stakeholder", "en", Plan(Sentence(()), ((Sentence(("mark:C1",)), Sentence(("verdict",))),)))
"""The share of a mark is told before the lead, which is the same concept and is put in behind it."""


@settings(max_examples=examples(120))
@example(MARK_BEFORE_LEAD)
@given(tables_and_plans())
def test_whatever_is_planned_the_text_is_true_and_whole(drawn):
    seed, audience, language, plan = drawn
    raw = random_prediction(seed)
    table, facts, narrative = word(seed, audience, language, plan)
    chosen = find_audience(audience)
    told = {fact for statement in narrative.statements for fact in statement.facts}
    tabled = {"lead", "opposes", "mark_leads"} if chosen.has_tables else set()
    for fact in chosen.concerns(facts, table):
        assert fact.id in told or not fact.must or fact.kind in tabled
    assert told <= {fact.id for fact in chosen.concerns(facts, table)}
    ids = [fact for statement in narrative.statements for fact in statement.facts]
    assert len(ids) == len(set(ids))
    for paragraph in narrative.paragraphs:
        assert paragraph.statements or paragraph.table
    for statement in narrative.statements:
        assert statement.facts
        assert statement.text.endswith(".")
        assert statement.text[0] == statement.text[0].upper()
        assert not re.search("[\ue000\ue001]|  | ,|\\?\\?\\?", statement.text)
    assert faults(raw, narrative) == []
    for piece in text_pieces(narrative):
        if piece.kind == "text":
            assert not any(name in piece.text for name in (*NAMES, *CLASSES) if "<" in name)


@pytest.mark.parametrize(("audience", "language"), BOTH)
def test_every_variant_of_every_message_can_be_worded(audience, language):
    """A message that uses a value which its facts do not have would stop a run: each is tried on random facts."""
    chosen = find_audience(audience)
    wording = find_wording(language, audience, chosen.decimals)
    tried = set()
    for seed in range(250):
        table = random_prediction(seed).table()
        facts = chosen.concerns(facts_of(seed), table)
        for fact in facts:
            for used in range(wording.n_variants(fact.kind)):
                words = tuple(sorted(fact.words.items()))
                if (fact.kind, used, words) not in tried:
                    tried.add((fact.kind, used, words))
                    teller = teller_of(table, facts, chosen, wording)
                    teller.used[fact.kind] = used
                    assert teller.statement(Sentence((fact.id,))).text
    assert {kind for kind, *_ in tried} == set(chosen.kinds)


@pytest.mark.parametrize(("audience", "language"), [(name, code) for name in AUDIENCES for code in languages()])
def test_what_was_told_is_not_printed_again_in_any_variant_of_any_message(audience, language):
    """Each message has a form without each number that another fact may have told before; counts excepted."""
    chosen = find_audience(audience)
    wording = find_wording(language, audience, chosen.decimals)
    tried = set()
    for seed in range(150):
        table = random_prediction(seed).table()
        facts = chosen.concerns(facts_of(seed), table)
        for fact in facts:
            keys = {
                (each.name, each.of) for role, each in fact.numbers.items() if (fact.kind, role) in shared_numbers()
            }
            for told, used in product(subsets(keys), range(wording.n_variants(fact.kind))):
                for again in (False, True):
                    case = (
                        fact.kind,
                        used,
                        again,
                        tuple(sorted(name for name, _ in told)),
                        *sorted(fact.words.items()),
                    )
                    if case in tried:
                        continue
                    tried.add(case)
                    teller = teller_of(table, facts, chosen, wording)
                    teller.used[fact.kind], teller.told = used, set(told)
                    teller.subject = fact.concepts[0] if again and fact.concepts else ""
                    pieces = teller.statement(Sentence((fact.id,))).pieces
                    printed = {(piece.quantity.name, piece.quantity.of) for piece in pieces if piece.quantity}
                    assert not printed & set(told)
    assert len(tried) > 100


def subsets(keys):
    ordered = sorted(keys)
    return chain.from_iterable(combinations(ordered, length) for length in range(len(ordered) + 1))


@cache
def shared_numbers():
    """Find which numbers another fact of the same table can have told, counts excepted: (kind, role)."""
    found = set()
    for seed in range(250):
        owners = {}
        for fact in facts_of(seed):
            for role, quantity in fact.numbers.items():
                if quantity.unit != "count":
                    owners.setdefault((quantity.name, quantity.of), set()).add((fact.kind, role))
        found |= {owner for owning in owners.values() if len(owning) > 1 for owner in owning}
    return found


def teller_of(table, facts, audience, wording):
    return Teller(table, {fact.id: fact for fact in facts}, audience, wording)


@pytest.mark.parametrize(("audience", "language"), BOTH)
def test_texts_keep_their_length_where_they_can(audience, language):
    chosen = find_audience(audience)
    lengths = []
    for seed in range(60):
        _, facts, narrative = word(seed, audience, language)
        length = sum(len(statement.text.split()) for statement in narrative.statements)
        told = [fact for statement in narrative.statements for fact in statement.facts]
        known = {fact.id: fact for fact in facts}
        spare = [
            kind
            for kind, n_kept in chosen.droppable
            if sum(known[fact].kind == kind for fact in told) > n_kept
            and any(known[fact].kind == kind and not known[fact].must for fact in told)
        ]
        assert length <= chosen.words[1] or not spare
        lengths.append(length)
    assert chosen.words[0] <= sorted(lengths)[30] <= chosen.words[1]


def test_twice_the_same():
    assert word(7, "stakeholder", "en") == word(7, "stakeholder", "en")


def test_every_language_words_every_kind():
    """A third language is a new folder: its files have every message that the English ones have."""
    for language in languages():
        for audience in AUDIENCES.values():
            wording = Wording(language, audience.name, audience.decimals)
            assert all(wording.has(kind) for kind in audience.kinds)
            assert all(wording.has(f"{kind}-item") for kind in audience.grouped)
    assert {"en", "de"} <= set(languages())
    assert {kind for audience in AUDIENCES.values() for kind in audience.kinds} <= set(FACT_KINDS)


def test_a_relation_that_does_not_hold_is_dropped():
    contrasted = n_dropped = 0
    for seed in range(150):
        table = random_prediction(seed).table()
        audience = find_audience("stakeholder")
        facts = audience.concerns(facts_of(seed), table)
        known = {fact.id: fact for fact in facts}
        pairs = [(a, b) for a in facts for b in facts if a.kind == "supports" and b.kind in ("opposes", "coverage")]
        for first, second in pairs[:3]:
            wanted = Sentence((first.id, second.id), "but")
            settled = settle(Plan(Sentence(("decision",)), ((wanted,),)), facts, table, audience)
            found = next((s for p in settled.plan.paragraphs for s in p if set(wanted.facts) <= set(s.facts)), None)
            if found and found.relation == "but":
                contrasted += 1
                assert known[first.id].polarity * known[second.id].polarity < 0
            elif found:
                n_dropped += 1
                assert known[first.id].polarity * known[second.id].polarity >= 0
    assert contrasted > 20
    assert n_dropped > 20


def test_a_name_is_never_part_of_a_sentence():
    """Names and classes are put in after the sentence is made: marks of the formatter in them stay what they are."""
    wording, slots = find_wording("en", "stakeholder", 0), Slots()
    name = '{ $share } \ue0000\ue001 { "x" }'
    pieces = slots.pieces(wording.concept(slots, "layer:1", LocalName("en", name)))
    assert [piece.text for piece in pieces if piece.kind == "concept"] == ['{ $share } 0 { "x" }']
    assert [piece.text for piece in pieces if piece.kind == "text"] == ["the “", "”"]


UNTRUSTED = (
    "\u202eturned\u202c", "\u2066apart\u2069", "a\u200bb", "\ufeffmark", "\ue000", "\ue0000\ue001", "\ue00099\ue001 {",
    "{ $share }", "{ lead-told }", '{""}', "name = x\n.attr = y", "-term", "{% if x %}", "{{ x }}", "%s {0} ${x}",
    "<b>bold</b>", "<script>alert(1)</script>", "&lt;b&gt;", "**bold** _it_ `code`", "[x](javascript:alert(1))",
    "x" * 500, "very long " * 60, "line\nbreak", "tab\tbed", "\r\n", "\u2028", "\x00", "\x1b[31m", "\u0600\u06dd",
    "שלום עולם", "مرحبا 12", "日本語", "🦊 fox", "e\u0301tude", "a\u0327\u0301", "ǆ", "ß", "İ", "\u3164", "\u2800",
    "carries 40 %", "½", "he said: no; it is wrong. The", "“quoted” and „quoted“", "the The", "a:b:c",
)  # fmt: skip
"""Directions, isolates, nothing to see, the program's own marks, messages, templates, markup, lines, odd letters."""


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("role", ["name", "second_name", "class_name"])
def test_whatever_names_and_classes_hold_the_sentences_stay_theirs(role, language):
    for number, (text, audience) in enumerate(product(UNTRUSTED, AUDIENCES)):
        raw = random_prediction(number % 7)
        if role == "class_name":
            target = replace(raw.target, class_name=text)
            said = [
                replace(p, class_name=text) if p.class_index == target.class_index else p
                for p in raw.explanation.predictions
            ]
            table = replace(raw, target=target, explanation=replace(raw.explanation, predictions=tuple(said))).table()
        else:
            named = {key: replace(name, **{"name": "fin", role: text}) for key, name in raw.names.items()}
            table = replace(raw, names={key: name for key, name in named.items() if not name.failure}).table()
        chosen = find_audience(audience)
        narrative = narrate(table, derive_facts(table), chosen, find_wording(language, audience, chosen.decimals))
        json.loads(to_json(narrative))
        for piece in text_pieces(narrative):
            assert not re.search("[\ue000\ue001\u202a-\u202e\u2066-\u2069\u200b\ufeff\x00-\x1f\u2028]", piece.text)
            if piece.kind == "text":
                assert text.strip() not in piece.text or len(text) < 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("decision = { $class\n", r"fr/common.ftl, line 1, cannot be read"),
        ("also = a\nalso = b\n", r"fr/common.ftl, line 2, gives 'also' twice"),
        ("articles = the\n", "no message file fr/stakeholder.ftl"),
    ],
)
def test_a_faulty_message_file_is_told_with_its_line(tmp_path, content, message):
    (tmp_path / "fr").mkdir()
    (tmp_path / "fr/common.ftl").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        Wording("fr", "stakeholder", 0, tmp_path)


def test_a_folder_that_is_no_language_is_told(tmp_path):
    with pytest.raises(ConfigError, match="'klingonisch' belong to no known language"):
        Wording("klingonisch", "stakeholder", 0, tmp_path)


def test_a_message_that_asks_for_what_there_is_not_is_told(tmp_path):
    for path in ("common", "stakeholder"):
        content = (message_folder() / "en" / f"{path}.ftl").read_text(encoding="utf-8")
        (tmp_path / "en").mkdir(exist_ok=True)
        (tmp_path / f"en/{path}.ftl").write_text(content.replace("names =", "names = { $nobody }\nnamed =", 1), "utf-8")
    with pytest.raises(ConfigError, match="message 'names' of language 'en' cannot be worded"):
        Wording("en", "stakeholder", 0, tmp_path).format("names", {})


def test_the_built_in_plan_tells_the_strongest_first():
    for seed in range(100):
        table = random_prediction(seed).table()
        audience = find_audience("stakeholder")
        facts = audience.concerns(facts_of(seed), table)
        plan = built_in_plan(facts, table, audience)
        assert plan.headline.facts[0] == "decision"
        assert not [paragraph for paragraph in plan.paragraphs if not paragraph]


@pytest.mark.parametrize("audience", ["expert", "stakeholder"])
@pytest.mark.parametrize("language", ["en", "de"])
def test_what_several_channels_share_is_not_called_a_name(audience, language):
    # of concepts without names the text says that what stands there was not tested as a name
    message = read_message(language, audience, "namesakes")
    assert "{ $bare }" in message
    assert not re.search(r"named|called|heißen", message)


def test_half_of_the_relevance_is_never_half_of_what_was_told_last():
    assert "davon" not in read_message("de", "expert", "concentration")


def read_message(language, audience, kind):
    folder = Path(__file__).parents[1] / "prompts" / "wording" / language
    text = (folder / f"{audience}.ftl").read_text(encoding="utf-8")
    (found,) = re.findall(rf"^{kind} =.*?(?=^\S+ =|\Z)", text, re.MULTILINE | re.DOTALL)
    return found


@pytest.mark.parametrize("audience", AUDIENCES)
def test_a_text_uses_the_names_in_its_language_and_tells_which_are_in_another(audience):
    said = {"en": set(), "de": set()}
    for seed, language in product(range(8), said):
        table = random_prediction(seed).table()
        named = {key: _named_in_two_languages(key, number) for number, key in enumerate(table.names)}
        table, chosen = replace(table, names=named), find_audience(audience)
        text = narrate(table, derive_facts(table), chosen, find_wording(language, audience, chosen.decimals))
        tables = [paragraph.table for paragraph in text.paragraphs if paragraph.table]
        cells = chain.from_iterable(row for found in tables for row in found.rows)
        pieces = [*text_pieces(text), *chain.from_iterable(cells)]
        said[language] |= {(p.text.split()[0], p.language) for p in pieces if p.kind == "concept" and " " in p.text}
        assert not [piece for piece in pieces if piece.kind != "concept" and piece.language]
    assert said == {"en": {("english", "")}, "de": {("english", "en"), ("deutsches", "")}}


def _named_in_two_languages(key, number):
    letter = "abcdefghijklmnopqrstuvwxyz"[number % 26]
    local = (LocalName("de", f"deutsches Ding {letter}"),) if number % 2 else ()
    return ConceptName(key, f"english thing {letter}", "", "llm:m", language="en", local_names=local)


def test_a_name_in_another_language_stands_in_quotes():
    for code, expected in (("en", "the “rundes Auge”"), ("de", "„rundes Auge“")):
        wording, slots = find_wording(code, "stakeholder", 0), Slots()
        pieces = slots.pieces(wording.concept(slots, "layer:1", LocalName("de", "rundes Auge")))
        assert "".join(piece.text for piece in pieces) == expected
        assert [piece.language for piece in pieces if piece.kind == "concept"] == ["" if code == "de" else "de"]


@pytest.mark.parametrize(("language", "words"), [("en", "against the class goes to"), ("de", "gegen die Klasse ha")])
def test_an_expert_reads_on_which_side_a_share_is_unusual(language, words):
    n_against = 0
    for seed in range(60):
        table, facts, narrative = word(seed, "expert", language)
        known = {fact.id: fact for fact in facts}
        for statement in narrative.statements:
            unusual = [known[f] for f in statement.facts if known[f].kind == "usual"]
            sides = {f.words["side"] for f in unusual if f.words["level"] != "same"}
            assert (words in statement.text) == ("against" in sides), (table.key, statement.text)
            n_against += "against" in sides
    assert n_against > 3


@pytest.mark.parametrize(
    "name", ["eye and beak", "trunk which is wrong", "part of a wall", "house but the label is tree"]
)
def test_a_name_that_could_go_on_with_the_sentence_stands_in_quotes(name):
    wording, slots = find_wording("en", "stakeholder", 0), Slots()
    said = "".join(piece.text for piece in slots.pieces(wording.concept(slots, "layer:1", LocalName("en", name))))
    called = "".join(piece.text for piece in slots.pieces(wording.class_name(slots, name, 1)))
    if name == "part of a wall":
        assert (said, called) == ("the part of a wall", name)
    else:
        assert (said, called) == (f"the “{name}”", f"“{name}”")


@pytest.mark.parametrize("language", ["en", "de"])
def test_a_mark_is_called_a_shortcut_only_where_it_counts_for_one_class_alone(language):
    said = {"class": set(), "name": set()}
    for seed, audience in product(range(150), AUDIENCES):
        table, facts, _ = word(seed, audience, language)
        chosen = find_audience(audience)
        teller = teller_of(table, facts, chosen, find_wording(language, audience, chosen.decimals))
        for fact in (fact for fact in facts if fact.kind == "mark"):
            text = teller.alone(fact)
            said[fact.words["evidence"]].add("shortcut" in text or "Abkürzung" in text)
            assert fact.words["evidence"] == "name" or f"class_only:{fact.id.partition(':')[2]}" in teller.facts
    assert said == {"class": {True}, "name": {False}}


def test_no_message_prints_a_number_where_less_than_one_percent_would_not_fit():
    """A bound is worded ("less than 1 %"): "only less than", "the less than", "another less than" are no English."""
    for seed, (audience, language) in product(range(30), BOTH):
        _, _, narrative = word(seed, audience, language)
        for statement in narrative.statements:
            assert not re.search(
                "(another|only|the|nur|die|weitere) (less|more|weniger|mehr) (than|als) [0-9]", statement.text
            )


def test_no_text_says_that_nothing_was_switched_off():
    """Trust switches concepts off, and stands on the same page."""
    for language, audience in product(languages(), AUDIENCES):
        assert not re.search("no concept was|kein Konzept", read_message(language, audience, "method"))
