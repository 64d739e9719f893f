"""Sentences in a model's own words: what they may hold, and that each is checked before anybody reads it."""

import asyncio
import json

import pytest

from precompute.errors import ReplyError
from precompute.narratives.own_words import MAX_SENTENCES, TYPICAL_SENTENCES, Draft, Writer, write_own_words
from precompute.records import Refusal
from tests.server_answers import plausible_answer, task_of
from tests.test_planning import asked_folder, commission, run_with, server  # noqa: F401 - a fixture


@pytest.fixture
def writer():
    return Writer(commission(5))


def code_of(asked, kind):
    return next(code for code, fact in asked.menu().items() if fact.kind == kind)


def reply(*sentences):
    return json.dumps(
        {"reasoning": "", "sentences": [{"text": text, "facts": list(facts)} for text, facts in sentences]}
    )


def test_values_are_put_in_by_the_program(writer):
    asked = commission(5)
    code = code_of(asked, "decision")
    (draft,) = writer.read(reply((f"It says {{{code}.class}}, at {{{code}.probability}}.", [code])))
    assert isinstance(draft, Draft)
    kinds = [piece.kind for piece in draft.statement.pieces]
    assert kinds == ["text", "class", "text", "number", "text"]
    number = draft.statement.pieces[3]
    assert number.quantity.value == asked.table.probability
    assert draft.statement.facts == ("decision",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("It is 97 % sure.", "types a number"),
        ("It is sure to ½.", "types a number"),
        ("It says <b>tree</b>.", "markup"),
        ("It says {share}.", "braces"),
        ("It says {zzz.share}.", "no value"),
        ("It says {@.nothing}.", "no value"),
        ("It says\nso.", "one line"),
        ("It says so\u202e.", "one line"),
        ("x" * 500, "one line"),
        ("It says tench, Tinca tinca or house or tree or rocket.", "types the name"),
    ],
)
def test_what_a_sentence_may_not_hold_is_refused(writer, text, says):
    code = code_of(commission(5), "decision")
    (found,) = writer.read(reply((text.replace("@", code), [code])))
    assert isinstance(found, Refusal)
    assert says in found.reason


def test_a_sentence_names_facts_of_this_photo(writer):
    unknown, none = writer.read(reply(("It says so.", ["zzzz"]), ("It says so.", [])))
    assert "no fact with the code" in unknown.reason
    assert "names no fact" in none.reason


@pytest.mark.parametrize("text", ["", "[]", '{"sentences": []}', reply(), reply(*[("x", ["a"])] * (MAX_SENTENCES + 1))])
def test_a_reply_without_usable_sentences_is_refused_whole(writer, text):
    with pytest.raises(ReplyError):
        writer.read(text)


def test_an_estimate_counts_the_writing_and_the_checks(writer):
    tasks = [request.task for request in writer.typical_requests()]
    assert tasks == ["own_words"] + ["own_words_check"] * TYPICAL_SENTENCES


def answering(sentences, verdicts):
    """Answer the writing with given sentences, and each check by what the sentence holds."""

    def answer(body):
        if task_of(body) == "own_words":
            return json.loads(reply(*sentences))
        if task_of(body) == "own_words_check":
            text = json.dumps(body["messages"])
            more = next((what for word, what in verdicts.items() if word in text), "")
            return {"reasoning": "", "says_more": bool(more), "what": more}
        return plausible_answer(body)

    return answer


def test_a_sentence_that_says_more_is_struck_and_kept_on_record(server):  # noqa: F811
    asked = commission(5)
    code = code_of(asked, "decision")
    good = (f"The answer is {{{code}.class}}.", [code])
    bad = (f"The network was convinced that it is {{{code}.class}}.", [code])
    server.answer = answering([good, bad, ("It is 3.", [code])], {"convinced": "a mind"})
    found = run_with(server, lambda client: write_own_words(asked, client, client))
    assert [statement.facts for statement in found.statements] == [("decision",)]
    assert [statement.facts for statement in found.facts] == [("decision",)]
    assert sorted(refusal.reason for refusal in found.refused) == [
        "it says more than its facts: a mind",
        "it types a number",
    ]
    assert (found.author, found.checker) == ("llm:test", "llm:test")
    assert server.n_calls == 3


def test_a_check_that_cannot_be_read_lets_nothing_through(server):  # noqa: F811
    asked = commission(5)
    code = code_of(asked, "decision")
    server.answer = answering([(f"The answer is {{{code}.class}}.", [code])], {})
    server.script.extend(["ok", "wrong_schema", "invalid_json"])
    found = run_with(server, lambda client: write_own_words(asked, client, client))
    assert found.statements == ()
    assert "could not be checked" in found.refused[0].reason


def test_a_model_is_known_by_its_name_alone():
    """Texts are published: where the model lies on its server's disk is nobody's business."""

    class Silent:
        model = "/srv/home/anna/models/llama-vision"

        async def answer(self, request):
            raise ReplyError("nothing to say")

    found = asyncio.run(write_own_words(commission(5), Silent(), Silent()))
    assert (found.author, found.checker) == ("llm:llama-vision", "llm:llama-vision")


def test_untrusted_replies_leave_no_sentence(server):  # noqa: F811
    for fault in ("megabyte", "wrong_schema", "refusal"):
        server.script.extend([fault, fault])
        found = run_with(server, lambda client: write_own_words(commission(5), client, client))
        assert found.statements == ()
        assert len(found.refused) == 2
    assert asked_folder(server).exists()
