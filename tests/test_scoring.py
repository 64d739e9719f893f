"""Scoring: measures against hand-worked values, the split, the negatives, and baselines that tell wrong names."""

import json
import random

import numpy as np
import pytest

from precompute.config import LlmConfig
from precompute.errors import ReplyError
from precompute.llm.client import LlmClient
from precompute.llm.prompts import load_prompt
from precompute.naming.held_out import (
    Trial,
    choose_negatives,
    choose_positives,
    held_out_half,
    seen_half,
    similar_channels,
)
from precompute.naming.metrics import average_precision, f1_score, name_agreement
from precompute.naming.scoring import (
    CONSTANT_NAME,
    LlmJudge,
    Verdict,
    read_judge_reply,
    score_names,
    shuffled_partners,
)
from precompute.records import MISSING, Concept, ConceptName, LayerInfo, LayerTables, RankingTable
from precompute.records.named import ConceptScore
from precompute.stages.scores import describe_scores
from tests.drawn_references import drawn_reference
from tests.server import TestServer
from tests.server_answers import texts


@pytest.mark.parametrize(
    ("probabilities", "positive", "expected"),
    [
        ([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0], 1.0),
        ([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0], (1 / 3 + 2 / 4) / 2),
        ([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], (1 + 2 / 3) / 2),
        ([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0], 0.25),  # all tied: the share of positives
        ([0.9, 0.5, 0.5, 0.1], [0, 1, 0, 1], 0.5 * (1 / 3) + 0.5 * (2 / 4)),  # one tie across both kinds
        ([0.4], [1], 1.0),
    ],
)
def test_average_precision_equals_hand_worked_values(probabilities, positive, expected):
    assert average_precision(probabilities, [bool(p) for p in positive]) == pytest.approx(expected)


def test_average_precision_does_not_depend_on_order_among_ties():
    chance = random.Random(5)
    for _ in range(50):
        pairs = [(chance.randrange(4) / 4, chance.random() < 0.4) for _ in range(12)] + [(0.5, True)]
        value = average_precision(*zip(*pairs, strict=True))
        chance.shuffle(pairs)
        assert average_precision(*zip(*pairs, strict=True)) == pytest.approx(value)
        assert 0 < value <= 1


def test_average_precision_without_positives_is_refused():
    with pytest.raises(ValueError, match="0 positives"):
        average_precision([0.5], [False])


@pytest.mark.parametrize(
    ("probabilities", "positive", "expected"),
    [([0.9, 0.1], [1, 0], 1.0), ([0.9, 0.9], [1, 0], 2 / 3), ([0.1, 0.1], [1, 0], 0.0), ([0.5, 0.4], [1, 1], 2 / 3)],
)
def test_f1_equals_hand_worked_values(probabilities, positive, expected):
    assert f1_score(probabilities, [bool(p) for p in positive]) == pytest.approx(expected)


def test_agreement_of_names():
    wheel = ("wheel with bright hub", "A dark ring around a paler centre.")
    assert name_agreement(wheel, wheel) == 1
    assert name_agreement(wheel, ("thin twigs", "Branching brown lines.")) == 0
    assert 0.3 < name_agreement(wheel, ("car wheels", "Dark rings with a centre.")) < 1
    assert name_agreement(("Wheels", ""), ("the wheel", "")) == 1
    assert name_agreement(("", ""), ("", "")) == 0


def references(concept, n, ranking="relmax", start=0):
    return [drawn_reference(concept, ranking, rank, sample_index=start + rank) for rank in range(n)]


def test_seen_and_held_out_are_disjoint_and_complete():
    for n in range(30):
        all_ranks = references(Concept("c", 0), n)
        seen, held_out = seen_half(all_ranks), held_out_half(all_ranks)
        assert [r.rank for r in (*seen, *held_out)] == list(range(n))
        assert len(seen) == min(8, (n + 1) // 2)


def test_positives_were_not_seen_by_naming():
    concept = Concept("c", 0)
    relmax, actmax = references(concept, 12), references(concept, 12, "actmax", start=4)  # samples 4 to 11 in both
    positives = choose_positives(relmax, actmax, 6)
    samples = [r.sample_index for r in positives]
    assert len(set(samples)) == len(samples)
    assert not set(samples) & {r.sample_index for r in (*seen_half(relmax), *seen_half(actmax))}
    assert [r.ranking for r in positives] == ["relmax"] * 2 + ["actmax"] * 4


def make_tables(n_channels=6, k=4):
    sample_index = np.arange(k * n_channels).reshape(n_channels, k).T.copy()
    sample_index[-1, 0] = MISSING
    table = RankingTable(sample_index, np.ones((k, n_channels)), np.zeros((k, n_channels), dtype=np.int64))
    classes = np.eye(n_channels)[:3].repeat(1, axis=0)
    classes[:, 1] = classes[:, 0] + 0.1  # channel 1 is the most similar to channel 0
    empty = np.zeros((n_channels, 2), dtype=np.int64)
    return LayerTables(LayerInfo("c", "Conv2d", n_channels, 2, 2), table, table, classes, classes, empty, empty)


def test_negatives_come_from_other_channels_and_the_most_similar_first():
    tables = make_tables()
    rendered = {
        c: [drawn_reference(Concept("c", c), "relmax", r, sample_index=4 * c + r) for r in range(3)] for c in range(6)
    }
    rendered[1].insert(0, drawn_reference(Concept("c", 1), "relmax", 0, sample_index=0))  # is among channel 0's own
    negatives, n_hard = choose_negatives(Concept("c", 0), tables, similar_channels(tables), rendered, 4)
    assert negatives[0].concept == Concept("c", 1)
    assert n_hard == 2
    assert len({r.sample_index for r in negatives}) == len(negatives) == 4
    assert not {r.sample_index for r in negatives} & {0, 1, 2, 3}
    again, _ = choose_negatives(Concept("c", 0), tables, similar_channels(tables), rendered, 4)
    assert again == negatives


THINGS = ["wheel", "twig", "stripe", "eye", "leaf", "letter", "sky", "brick"]


class Oracle:
    """A judge that knows what each channel's references show: thing number channel."""

    author = "oracle"

    def judge(self, questions):
        for index, question in reversed(list(enumerate(questions))):  # any order is allowed
            known = question.name in THINGS
            shown = [THINGS[tile.concept.channel] for tile in question.tiles]
            yield index, Verdict(tuple(0.5 if not known else float(thing == question.name) for thing in shown))


def trials_and_names(names=THINGS):
    trials = []
    for channel in range(len(THINGS)):
        positives = references(Concept("c", channel), 3)
        negatives = [references(Concept("c", (channel + step) % 8), 1)[0] for step in (1, 2, 3, 4, 5)]
        trials.append(Trial(Concept("c", channel), tuple(positives), tuple(negatives), 2))
    named = {f"c:{c}": ConceptName(f"c:{c}", names[c], f"A {names[c]}.", "llm:x") for c in range(len(THINGS))}
    return trials, named


def test_scoring_tells_right_names_from_shuffled_ones():
    trials, named = trials_and_names()
    scores = list(score_names(named, trials, Oracle()))
    assert [score.concept for score in scores] == [trial.concept.key for trial in trials]
    for score in scores:
        assert score.auprc == score.f1 == 1
        assert score.shuffled_auprc < 0.7
        assert score.constant_auprc == pytest.approx(3 / 8)
        assert score.constant_f1 == pytest.approx(2 * 3 / (3 + 8))
        assert (score.n_positive, score.n_negative, score.author, score.stability) == (3, 5, "oracle", None)
    _, wrong = trials_and_names(THINGS[1:] + THINGS[:1])
    assert max(score.f1 for score in score_names(wrong, trials, Oracle())) < 0.5


def test_concept_without_name_or_negatives_is_a_failure_record():
    trials, named = trials_and_names()
    named["c:0"] = ConceptName("c:0", "", "", "llm:x", failure="refused")
    trials[1] = Trial(trials[1].concept, trials[1].positives, (), 0)
    scores = list(score_names(named, trials, Oracle()))
    assert "no name" in scores[0].failure
    assert "0 negatives" in scores[1].failure
    assert not any(score.failure for score in scores[2:])


def test_stability_compares_with_the_name_of_the_other_half():
    trials, named = trials_and_names()
    scores = {s.concept: s for s in score_names(named, trials, Oracle(), other_names=dict(list(named.items())[:4]))}
    assert scores["c:0"].stability == 1
    assert scores["c:7"].stability is None


def test_shuffled_names_are_never_the_own_one():
    for n in (2, 3, 50):
        keys = [f"c:{i}" for i in range(n)]
        partners = shuffled_partners(keys)
        assert all(key != partner for key, partner in partners.items())
        assert sorted(partners.values()) == sorted(keys)


def reply(*tiles):
    return json.dumps({"tiles": [{"number": number, "probability": p} for number, p in tiles]})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (reply((0, 0.5)), "tile 1 is missing"),
        (reply((0, 0.5), (1, 0.5), (2, 0.5)), "tile 2 was not shown"),
        (reply((0, 0.5), (-1, 0.5)), "tile -1 was not shown"),
        (reply((0, 0.5), (1, 0.5), (1, 0.6)), "comes twice"),
        (reply((0, 0.5), (1, 1.5)), "tiles.1.probability"),
        (reply((0, 0.5), (1, "high")), "tiles.1.probability"),
        (reply((0, 0.5), (1, 50)), "tiles.1.probability"),
        ("[0.5, 0.5]", "schema"),
        ("Tiles 0 and 1.", "not valid JSON"),
        ('{"tiles": []}', "tile 0 is missing"),
    ],
)
def test_bad_verdict_is_refused_for_the_right_reason(text, reason):
    with pytest.raises(ReplyError, match=reason):
        read_judge_reply(text, 2)


def test_verdict_is_ordered_by_number():
    assert read_judge_reply(reply((1, 0.25), (0, 1.0)), 2) == (1.0, 0.25)


def test_judge_behind_a_server_sees_names_and_crops_alone(tmp_path):
    trials, named = trials_and_names()
    with TestServer(script=["wrong_numbers", "refusal"]) as server:
        client = LlmClient(LlmConfig(base_url=server.base_url, model="m", concurrency=4), tmp_path, environment={})
        judge = LlmJudge(client)
        scores = list(score_names(named, trials, judge))
        assert [score.author for score in scores] == ["llm:m"] * 8
        assert not any(score.failure for score in scores)
        asked = "\n".join("\n".join(texts(body)) for body in server.bodies)
        assert "c:0" not in asked
        assert CONSTANT_NAME[0] in asked
        n_calls = server.n_calls
        assert list(score_names(named, trials, judge)) == scores
        assert server.n_calls == n_calls


def test_scoring_prompt_is_well_formed():
    system, user = load_prompt("scoring").render(name="wheel", description="", n_tiles=4, reason="")
    assert "wheel" in user
    assert "0 to 3" in user
    assert system


def test_of_no_scores_no_mean_is_told():
    lost = [ConceptScore(f"a:{n}", failure="the concept has no name" if n else "no room") for n in range(3)]
    assert describe_scores(lost) == "none of 3 concepts (2 of them: the concept has no name)"
    assert describe_scores([]) == "none of 0 concepts"
    found = describe_scores([*lost, ConceptScore("a:3", auprc=0.5, shuffled_auprc=0.25)])
    assert found == "1 names, mean AUPRC 0.50 (with another concept's name 0.25)"
