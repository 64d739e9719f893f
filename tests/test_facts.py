"""Each kind of fact against an independent computation on random predictions, straight from the raw records."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from precompute.explanations.usual import usual_shares
from precompute.narratives.facts import CLOSE_BEHIND, FACT_KINDS, UNUSUAL_STEP, _are_alike, derive_facts
from precompute.records import LargeShares
from tests.random_predictions import CLASSES, RandomPrediction, random_prediction

N_TABLES = 500
SELDOM = 20
ALWAYS = {"decision", "method"}


class Raw:
    """Another reading of the raw records; nothing of the table under test is used."""

    def __init__(self, given: RandomPrediction) -> None:
        self.given, self.target, self.explanation = given, given.target, given.explanation
        ordered = sorted(given.explanation.predictions, key=lambda p: -p.probability)
        self.best = ordered[0].class_index
        others = [p for p in ordered if p.class_index != given.target.class_index]
        self.second = others[0] if others else None
        self.positive = given.target.logit > 0
        self.concepts, number = [], 0
        for layer in given.target.layers:
            for concept in layer.concepts:
                number += 1
                self.concepts.append((f"C{number}", layer, concept))
        carrying = [layer for layer in given.target.layers if layer.concepts]
        pool = carrying or list(given.target.layers)
        self.main = sorted(pool, key=lambda layer: -abs(layer.relevance_sum))[0]

    def name(self, key):
        name = self.given.names.get(key)
        return name if name and name.name and not name.failure else None

    def leads(self):
        for local, layer, concept in self.concepts:
            top = np.abs(np.array(layer.shares))
            if (top >= abs(concept.share)).sum() == 1:
                yield local, layer, concept

    def lead_keys(self):
        return {concept.concept for _, _, concept in self.leads()}

    def side(self, concept):
        return np.sign(concept.share) * (1 if self.positive else -1)

    def mean(self, concept, class_index):
        layer, _, channel = concept.rpartition(":")
        usual = self.given.usual
        if usual is None or layer not in usual.means or usual.counts[class_index] == 0:
            return None
        return usual.means[layer][class_index, int(channel)]

    def usual_rows(self):
        """Concepts with a mean that may be told, with the means of the other classes."""
        here = self.target.class_index
        for local, _, concept in self.concepts:
            mean = self.mean(concept.concept, here)
            if self.positive and mean is not None and self.given.usual.counts[here] >= 5:
                elsewhere = {c: self.mean(concept.concept, c) for c in range(len(CLASSES)) if c != here}
                yield local, concept, mean, {c: m for c, m in elsewhere.items() if m is not None}

    def rivals(self):
        if self.second is None or not self.positive:
            return
        rival = [t for t in self.explanation.targets if t.class_index == self.second.class_index]
        if not rival or rival[0].logit <= 0:
            return
        for local, layer, concept in self.concepts:
            position = [item.layer for item in rival[0].layers].index(layer.layer)
            if concept.share > 0:
                yield local, concept, rival[0].layers[position].shares[int(concept.concept.rpartition(":")[2])]


def expected(kind, raw):
    """Say which facts of a kind have to exist, by id, with the numbers that they have to hold."""
    return dict(globals()[f"expect_{kind}"](raw))


def expect_decision(raw):
    yield "decision", {"probability": raw.target.probability, "logit": raw.target.logit}


def expect_verdict(raw):
    label, named, first = raw.explanation.label, raw.target.class_name, raw.best == raw.target.class_index
    if label and (first or label == named):
        yield "verdict", {"word": "missed" if not first else "right" if label == named else "wrong"}


def expect_runner_up(raw):
    if raw.second:
        gap = raw.target.probability - raw.second.probability
        is_close = gap < 0.1 and 3 * gap < raw.target.probability
        word = "above" if gap < 0 else "close" if is_close else "some" if gap < 0.5 else "far"
        yield "runner_up", {"probability": raw.second.probability, "word": word}


def expect_doubt(raw):
    if 1 - raw.target.probability > raw.target.probability and raw.best == raw.target.class_index:
        yield "doubt", {}


def expect_accuracy(raw):
    accuracy = raw.given.accuracy
    if accuracy and accuracy.n_samples >= 20 and raw.best == raw.target.class_index:
        yield "accuracy", {"n_right": accuracy.n_right, "n_samples": accuracy.n_samples}


def expect_negative_score(raw):
    if raw.target.logit < 0:
        yield "negative_score", {}


def expect_mark_leads(raw):
    for local, _, concept in raw.leads():
        if raw.name(concept.concept) and raw.name(concept.concept).kind == "mark" and abs(concept.share) >= 0.05:
            yield f"mark_leads:{local}", {}


def expect_lead(raw):
    for local, _, concept in raw.leads():
        yield f"lead:{local}", {"share": concept.share}


def expect_dominance(raw):
    for local, _, concept in raw.concepts:
        if abs(concept.share) > 0.5:
            yield f"dominance:{local}", {"share": concept.share}


def expect_supports(raw):
    for local, _, concept in raw.concepts:
        if raw.side(concept) > 0 and concept.concept not in raw.lead_keys():
            yield f"supports:{local}", {"share": concept.share}


def expect_opposes(raw):
    for local, _, concept in raw.concepts:
        if raw.side(concept) < 0 and concept.concept not in raw.lead_keys():
            yield f"opposes:{local}", {"share": concept.share}


def expect_no_opposition(raw):
    for number, layer in enumerate(raw.target.layers, start=1):
        if raw.positive and layer.concepts and all(concept.share > 0 for concept in layer.concepts):
            yield f"no_opposition:L{number}", {}


def expect_no_support(raw):
    for number, layer in enumerate(raw.target.layers, start=1):
        if raw.positive and layer.concepts and all(concept.share < 0 for concept in layer.concepts):
            yield f"no_support:L{number}", {}


def expect_no_relevance(raw):
    for number, layer in enumerate(raw.target.layers, start=1):
        if np.abs(layer.shares).sum() == 0:
            yield f"no_relevance:L{number}", {}


def _groups(raw, kind, value):
    for layer in raw.target.layers:
        rows = [(local, concept) for local, each, concept in raw.concepts if each is layer]
        for sign in (1, -1):
            for shared in {value(concept) for _, concept in rows} - {None}:
                members = [(n, c) for n, c in rows if value(c) == shared and np.sign(c.share) == sign]
                if len(members) > 1:
                    total = sum(c.share for _, c in members)
                    yield f"{kind}:{members[0][0]}", {"sum": total, "n": len(members)}


def expect_namesakes(raw):
    named = {c.concept: raw.name(c.concept) for _, _, c in raw.concepts}
    return _groups(raw, "namesakes", lambda c: named[c.concept].name.lower() if named[c.concept] is not None else None)


def expect_same_place(raw):
    nowhere = {"across the whole image", "nowhere in the image"}
    return _groups(raw, "same_place", lambda c: None if c.place.words in nowhere else c.place.words)


def expect_built_from(raw):
    for local, _, concept in raw.concepts:
        sizes = sorted((sub.share for sub in concept.sub_concepts), key=lambda share: -abs(share))
        if sizes:
            yield f"built_from:{local}", {f"sub_{n}": size for n, size in enumerate(sizes[:2], start=1)}


def expect_usual(raw):
    for local, concept, mean, _ in raw.usual_rows():
        share, average = abs(concept.share), mean if concept.share > 0 else -mean
        if share < 0.05 and average < 0.05:
            continue
        numbers = {"share": concept.share, "mean": mean}
        less, more, n = spread(raw, concept)
        if -0.05 < share - average < 0.05:
            if 3 * abs(share - average) >= max(share, abs(average)):
                continue
            yield f"usual:{local}", {"word": "same", **numbers}
        elif share > average and less >= 0.9 * n and n >= 10:
            yield f"usual:{local}", {"word": "more", "n_less": less, "n_samples": n, **numbers}
        elif share < average and more >= 0.9 * n and n >= 10:
            yield f"usual:{local}", {"word": "less", "n_more": more, "n_samples": n, **numbers}


def spread(raw, concept):
    """Count the samples of the class with less, and with more, of a concept; those without a large share have less."""
    layer, _, channel = concept.concept.rpartition(":")
    large, n = raw.given.usual.large[layer], int(raw.given.usual.counts[raw.target.class_index])
    shares = [
        share * np.sign(concept.share)
        for index, each, share in zip(large.class_index, large.channel, large.share, strict=True)
        if (index, each) == (raw.target.class_index, int(channel))
    ]
    if abs(concept.share) < 0.05:
        return 0, len([share for share in shares if share > 0]), n
    more = len([share for share in shares if share > abs(concept.share)])
    return n - more, more, n


def expect_class_only(raw):
    for local, concept, mean, elsewhere in raw.usual_rows():
        if concept.share > 0 and mean >= 0.1 and elsewhere and all(-0.02 < m < 0.02 for m in elsewhere.values()):
            yield f"class_only:{local}", {}


def expect_other_class(raw):
    for local, concept, mean, elsewhere in raw.usual_rows():
        if concept.share >= 0.05 and elsewhere:
            highest = max(elsewhere.values())
            if highest >= 0.1 and highest >= 2 * mean:
                yield f"other_class:{local}", {"other_mean": highest, "mean": mean}


def expect_absent(raw):
    here, usual = raw.target.class_index, raw.given.usual
    for number, layer in enumerate(raw.target.layers, start=1):
        if usual is None or not raw.positive or layer.layer not in usual.means or usual.counts[here] < 5:
            continue
        means = usual.means[layer.layer][here]
        if means.max() >= 0.1 and layer.shares[means.argmax()] * 4 < means.max():
            share = layer.shares[means.argmax()]
            word = "none" if share == 0 else "against" if share <= -0.005 else "little" if share < 0.05 else "less"
            yield f"absent:L{number}", {"mean": means.max(), "share": share, "word": word}


def expect_contrast(raw):
    for local, concept, rival in raw.rivals():
        if concept.share - rival >= 0.1:
            yield f"contrast:{local}", {"share": concept.share, "rival_share": rival}


def expect_shared(raw):
    for local, concept, rival in raw.rivals():
        if concept.share >= 0.05 and rival >= 0.05 and abs(concept.share - rival) < 0.05:
            if 3 * abs(concept.share - rival) >= max(concept.share, rival):
                continue
            yield f"shared:{local}", {"share": concept.share, "rival_share": rival}


def expect_coverage(raw):
    for number, layer in enumerate(raw.target.layers, start=1):
        if layer.concepts:
            shown = sum(abs(concept.share) for concept in layer.concepts)
            others = np.count_nonzero(layer.shares) - len(layer.concepts)
            rest = sum(abs(share) for n, share in enumerate(layer.shares) if n not in channels_of(layer))
            yield f"coverage:L{number}", {"coverage": shown, "n_others": others, "rest_share": rest}


def expect_concentration(raw):
    for number, layer in enumerate(raw.target.layers, start=1):
        sums = np.cumsum(np.sort(np.abs(layer.shares))[::-1])
        if len(sums) > 1 and sums[-1] >= 0.5 - 1e-9:
            yield f"concentration:L{number}", {"k": int((sums < 0.5 - 1e-9).sum()) + 1, "n_channels": len(sums)}


def expect_balance(raw):
    for number, layer in enumerate(raw.target.layers, start=1):
        shares = np.array(layer.shares) * np.sign(raw.target.logit)
        if shares.any():
            sides = {"supporting": np.clip(shares, 0, None).sum(), "opposing": np.clip(-shares, 0, None).sum()}
            yield f"balance:L{number}", sides


def expect_layer_sum(raw):
    for number, layer in enumerate(raw.target.layers, start=1):
        if layer.cut is None:
            yield f"layer_sum:L{number}", {"sum": layer.relevance_sum}


def expect_split(raw):
    for number, layer in enumerate(raw.target.layers, start=1):
        if layer.cut is not None:
            beside = np.sum([part.relevance for part in layer.cut.beside])
            numbers = {"sum": layer.relevance_sum, "beside_sum": beside, "biases": layer.cut.biases}
            yield f"split:L{number}", numbers | {"stabilisers": layer.cut.stabilisers}


def expect_beside(raw):
    for number, layer in enumerate(raw.target.layers, start=1):
        part = np.abs(layer.shares).sum()
        if layer.cut is not None and len(layer.cut.beside) and 0 < part < 1 - 1e-9:
            yield f"beside:L{number}", {"beside": 1 - part}


def channels_of(layer):
    return {int(concept.concept.rpartition(":")[2]) for concept in layer.concepts}


def expect_other_layers(raw):
    if len(raw.target.layers) == 2:
        yield "other_layers", {"n_layers": 2}


def _of_kind(raw, kind):
    for local, _, concept in raw.concepts:
        name = raw.name(concept.concept)
        if name and name.kind == kind and abs(concept.share) >= 0.05:
            yield f"{kind}:{local}", {"share": concept.share}


def expect_mark(raw):
    alone = {fact.partition(":")[2] for fact, _ in expect_class_only(raw)}
    for fact, numbers in _of_kind(raw, "mark"):
        yield fact, numbers | {"word": "class" if fact.partition(":")[2] in alone else "name"}


def expect_scene(raw):
    return _of_kind(raw, "scene")


def expect_mixed_name(raw):
    for local, _, concept in raw.concepts:
        if raw.name(concept.concept) and raw.name(concept.concept).second_name and abs(concept.share) >= 0.05:
            yield f"mixed_name:{local}", {}


def expect_name_band(raw):
    for local, _, concept in raw.concepts:
        name = raw.name(concept.concept)
        if not name or abs(concept.share) < 0.05:
            continue
        if name.author == "offline" and name.kind == "mark":
            yield f"name_band:{local}", {"n_right": 52, "n_names": 58}
        elif name.author == "llm:claude" and name.recorded:
            right, names = {0.95: (172, 172), 0.4: (15, 41)}[name.confidence]
            yield f"name_band:{local}", {"n_right": right, "n_names": names}


def expect_names(raw):
    named = [raw.name(c.concept) for _, _, c in raw.concepts if raw.name(c.concept)]
    authors = {
        "described" if name.author == "offline" and name.kind != "mark" else name.author.split(":")[0] for name in named
    }
    if authors == {"described", "offline"}:
        yield "names", {"word": "described_and_marks"}
    elif authors:
        yield "names", {"word": "several" if len(authors) > 1 else authors.pop()}


def expect_method(raw):
    yield "method", {}


def word_of(fact):
    """Pick the word of a fact that its expectation names."""
    return next(
        fact.words[key] for key in ("verdict", "margin", "evidence", "here", "level", "maker") if key in fact.words
    )


@pytest.fixture(scope="module")
def predictions():
    return [random_prediction(seed) for seed in range(N_TABLES)]


@pytest.fixture(scope="module")
def derived(predictions):
    return [derive_facts(given.table()) for given in predictions]


@pytest.mark.parametrize("kind", FACT_KINDS)
def test_a_fact_exists_exactly_where_its_condition_holds(kind, predictions, derived):
    n_present = n_absent = 0
    for given, facts in zip(predictions, derived, strict=True):
        wanted = expected(kind, Raw(given))
        found = {fact.id: fact for fact in facts if fact.kind == kind}
        assert set(found) == set(wanted), given.explanation
        n_present, n_absent = n_present + bool(wanted), n_absent + (not wanted)
        for fact_id, numbers in wanted.items():
            for role, value in numbers.items():
                if role == "word":
                    assert word_of(found[fact_id]) == value
                else:
                    assert found[fact_id].numbers[role].value == pytest.approx(value, rel=1e-12, abs=1e-12)
    assert n_present >= SELDOM, f"{kind} is tried too seldom"
    assert n_absent >= SELDOM or kind in ALWAYS, f"the absence of {kind} is tried too seldom"


def test_every_level_of_what_is_usual_is_tried(derived):
    levels = Counter(
        (fact.words["level"], fact.words["side"]) for facts in derived for fact in facts if fact.kind == "usual"
    )
    for level in ("more", "less", "same"):
        assert levels[level, "for"] >= SELDOM
        assert levels[level, "against"] >= SELDOM / 2


def test_ids_are_unique_and_every_number_is_finite(derived):
    for facts in derived:
        assert len({fact.id for fact in facts}) == len(facts)
        assert all(math.isfinite(number.value) for fact in facts for number in fact.numbers.values())


def test_words_are_of_closed_vocabularies(derived):
    """Nothing from outside (names, classes) may stand among a fact's words: they are used as they are."""
    outside = {name.casefold() for name in (*CLASSES, "round badge", "trunk", "<i>leaf</i>")}
    for facts in derived:
        assert not {word.casefold() for fact in facts for word in fact.words.values()} & outside


def test_the_main_layer_tells_what_may_not_be_kept_back(predictions, derived):
    """The strongest opposition, marks and the lead of the main layer must be told, whatever a plan says."""
    n_opposed = 0
    for given, facts in zip(predictions, derived, strict=True):
        raw = Raw(given)
        must = {fact.id for fact in facts if fact.must}
        opposed = [(n, c) for n, layer, c in raw.concepts if layer is raw.main and raw.side(c) < 0]
        opposed = [(n, c) for n, c in opposed if c.concept not in raw.lead_keys()]
        if opposed:
            n_opposed += 1
            assert f"opposes:{opposed[0][0]}" in must
        assert {"decision", "method"} <= must
        assert ("doubt" in must) == (raw.target.probability < 0.5 and raw.best == raw.target.class_index)
        assert all(fact.must for fact in facts if fact.kind == "mark" and fact.layer == raw.main.layer)
    assert n_opposed > 100


def test_where_an_image_can_have_several_labels_nothing_is_said_that_needs_exclusion(predictions):
    n_said = 0
    for given in predictions:
        alone = replace(given, explanation=replace(given.explanation, task="labels"))
        n_said += {"doubt", "verdict", "accuracy"} & {fact.kind for fact in derive_facts(given.table())} != set()
        assert not {"doubt", "verdict", "accuracy"} & {fact.kind for fact in derive_facts(alone.table())}
    assert n_said > 100


def test_the_documentation_tells_each_condition_as_the_code_does():
    text = (Path(__file__).parents[1] / "docs/wording.md").read_text(encoding="utf-8")
    for kind in FACT_KINDS.values():
        assert f"| `{kind.name}` | {kind.condition} | {kind.meaning} |" in text


def test_nothing_is_called_alike_that_is_several_times_as_large():
    """Steps in percent alone would call 8 % and 2 % nearly the same."""
    assert not _are_alike(0.08, 0.02, CLOSE_BEHIND)
    assert not _are_alike(0.05, 0.001, UNUSUAL_STEP)
    assert _are_alike(0.08, 0.06, CLOSE_BEHIND)
    assert _are_alike(0.36, 0.4, UNUSUAL_STEP)


def test_means_are_compared_only_with_shares_of_the_same_whole_and_photos_are_called_what_they_are():
    info = SimpleNamespace(beside=("branch",))
    large = LargeShares(np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    layers = {"branch": SimpleNamespace(info=info, class_relevance=np.ones((4, 2)), large=large)}
    layers["chain"] = SimpleNamespace(info=SimpleNamespace(beside=()), class_relevance=np.ones((4, 2)), large=large)
    label, target = np.array([0, 0, 1, 1, -1, 3, 3]), np.array([0, 0, 1, 2, 2, 3, -1])
    samples, counts = SimpleNamespace(label=label, target=target), np.array([2, 1, 2, 1])
    found = usual_shares(SimpleNamespace(scores="layer", layers=layers, samples=samples, class_counts=counts))
    assert set(found.means) == set(found.large) == {"chain"}
    assert found.labelled.tolist() == [True, False, False, True]  # class 3 lacks only what could not be read
    of_cut = SimpleNamespace(scores="cut", layers=layers, samples=samples, class_counts=counts)
    assert set(usual_shares(of_cut).means) == {"branch", "chain"}
