"""Forced choice by a judge: what it sees, what counts as right, and that an order of rows is no help."""

import json

import pytest

from precompute.config import LlmConfig
from precompute.errors import ReplyError
from precompute.llm.client import LlmClient
from precompute.naming.scoring import Verdict
from precompute.records import ChoiceScore, Concept, ConceptName, ConceptScore
from precompute.stages.scores import describe_choices
from precompute.studies.choosing import (
    ChoiceQuestion,
    Chosen,
    LlmChooser,
    TileChooser,
    choice_questions,
    count_choices,
    read_choice_reply,
)
from precompute.studies.rows import Choice
from tests.drawn_references import drawn_reference
from tests.server import TestServer
from tests.server_answers import pictures, texts

CONCEPTS = tuple(Concept("c", channel) for channel in range(4))


def row_of(concept):
    return tuple(drawn_reference(concept, "relmax", rank, sample_index=8 * concept.channel + rank) for rank in range(3))


class FixedRows:
    """Stands for the rows of a layer: always the same four."""

    def choose(self, channel, against):
        return Choice(CONCEPTS[channel], against, CONCEPTS, tuple(map(row_of, CONCEPTS)))


def questions(n_orders=2):
    names = {"c:1": ConceptName("c:1", "thin stripes", "Secret words of the description.", "offline")}
    return list(choice_questions(FixedRows(), CONCEPTS, names, n_orders, 0))


def test_only_the_named_are_asked_and_each_order_says_which_row_is_right():
    asked = questions(n_orders=6)
    assert [item.against for item in asked] == ["random"] * 6 + ["hard"] * 6
    assert all(item.rows[item.right] == row_of(CONCEPTS[1]) for item in asked)
    assert len({item.right for item in asked}) > 1


def test_a_model_sees_the_name_and_the_rows_alone(tmp_path):
    bodies = []

    def answer(body):
        bodies.append(body)
        return {"row": 2}

    with TestServer(answer) as server:
        client = LlmClient(LlmConfig(base_url=server.base_url, model="m"), tmp_path, environment={})
        chosen = dict(LlmChooser(client).choose(questions()))
    assert chosen == {index: Chosen(2) for index in range(4)}
    told = "\n".join("\n".join(texts(body)) for body in bodies)
    assert "thin stripes" in told
    assert "Secret" not in told
    assert "c:1" not in json.dumps(bodies)
    assert len({pictures(body)[0] for body in bodies}) > 1


def test_a_reply_that_is_no_row_shown_is_refused():
    assert read_choice_reply('{"row": 3}', 4) == 3
    for text in ('{"row": 4}', '{"row": -1}', '{"row": "1"}', '{"row": 1, "why": ""}', "row 1"):
        with pytest.raises(ReplyError):
            read_choice_reply(text, 4)


class TileJudge:
    """Finds what a table of probabilities by concept says."""

    author = "a table"

    def __init__(self, table):
        self.table = table

    def judge(self, asked):
        for index, question in enumerate(asked):
            yield index, Verdict(tuple(self.table[tile.concept.channel] for tile in question.tiles))


@pytest.mark.parametrize(
    ("table", "n_right", "n_undecided"), [((0.1, 0.9, 0, 0), 2, 0), ((0.9, 0.1, 0, 0), 0, 0), ((0.5,) * 4, 0, 2)]
)
def test_a_judge_of_tiles_chooses_the_row_that_shows_it_most(table, n_right, n_undecided):
    asked = questions()
    counted = count_choices(asked, dict(TileChooser(TileJudge(table)).choose(asked)))
    assert counted == {"c:1": tuple(ChoiceScore(kind, 2, n_right, n_undecided) for kind in ("random", "hard"))}


def test_questions_without_an_answer_are_not_counted():
    asked = [ChoiceQuestion(CONCEPTS[0], "random", "n", (), 1)] * 3
    chosen = {0: Chosen(1), 1: Chosen(failure="no reply"), 2: Chosen(0)}
    assert count_choices(asked, chosen) == {"c:0": (ChoiceScore("random", 2, 1),)}
    assert count_choices(asked[:1], {0: Chosen(failure="no reply")}) == {}


def test_what_is_told_is_the_mean_over_names():
    scores = [
        ConceptScore("a:0", choices=(ChoiceScore("random", 2, 2), ChoiceScore("hard", 2, 1))),
        ConceptScore("a:1", choices=(ChoiceScore("random", 1, 0),)),
    ]
    told = list(describe_choices(scores))
    assert len(told) == 2
    assert "50" in told[0]
    assert "nearest" in told[1]
