"""What models and people write is held to one rule, and what cannot be read is told in one way."""

import json

import pytest

from precompute.errors import DataError, ReplyError
from precompute.naming.namer import NamingReply, read_naming_reply
from precompute.naming.rules import MAX_DESCRIPTION, checked_names
from precompute.naming.scoring import read_judge_reply
from precompute.narratives.own_words import Writer
from precompute.records import Refusal
from tests.test_corrections import edit, exported, read
from tests.test_naming import GOOD
from tests.test_planning import commission


def refusal_of(reader, *given):
    with pytest.raises(ReplyError) as info:
        reader(*given)
    return str(info.value)


def refused_sentence(text):
    """Say why a sentence in a model's own words is refused."""
    asked = commission(5)
    code = next(iter(asked.menu()))
    reply = {"reasoning": "", "sentences": [{"text": text, "facts": [code]}]}
    (found,) = Writer(asked).read(json.dumps(reply))
    assert isinstance(found, Refusal)
    return found.reason


@pytest.mark.parametrize(
    ("text", "found"),
    [("red \uff05", "a share ('\uff05')"), ("~~a~~", "markup ('~~')"), ("mailto:x", "an address ('mailto:')")],
)
def test_names_descriptions_and_sentences_may_hold_the_same(text, found):
    reasons = [
        refusal_of(checked_names, text, ""),
        refusal_of(checked_names, "wheel", text),
        refusal_of(read_naming_reply, json.dumps(GOOD | {"description": text}), 4),
        refusal_of(read_naming_reply, json.dumps(GOOD | {"common": text}), 4),
        refused_sentence(text),
    ]
    assert {reason.partition(" holds ")[2] for reason in reasons} == {f"{found}; write plain prose"}


READERS = {
    "a name": lambda text: read_naming_reply(text, 4),
    "a verdict": lambda text: read_judge_reply(text, 4),
    "a plan": lambda text: commission(5).read(text),
    "sentences": lambda text: Writer(commission(5)).read(text),
}


@pytest.mark.parametrize("what", READERS)
def test_a_reply_that_was_cut_off_is_told_in_the_same_plain_words(what):
    reason = refusal_of(READERS[what], '{"name":')
    assert reason == "the reply is not valid JSON, or was cut off; reply with one JSON object and nothing else"


@pytest.mark.parametrize("length", [MAX_DESCRIPTION, MAX_DESCRIPTION + 1, 2000])
def test_models_and_people_may_write_descriptions_of_one_length_and_the_schema_says_it(tmp_path, length):
    text, table = "a" * length, exported(tmp_path)
    edit(table, {("features.10:0", "description"): text})
    assert f"at most {MAX_DESCRIPTION} characters" in NamingReply.model_fields["description"].description
    if length <= MAX_DESCRIPTION:
        assert read_naming_reply(json.dumps(GOOD | {"description": text}), 4).description == text
        assert [correction.description for correction in read(table)] == [text]
        return
    expected = f"description is {length} characters long; at most {MAX_DESCRIPTION} are allowed"
    assert refusal_of(read_naming_reply, json.dumps(GOOD | {"description": text}), 4) == expected
    with pytest.raises(DataError, match=expected):
        read(table)
