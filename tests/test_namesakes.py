"""Channels with the same name are asked about once more together."""

import io
import json

import pytest
from PIL import Image

from precompute.errors import ReplyError
from precompute.images.contact_sheet import CELL, rows_sheet
from precompute.naming.namesakes import MAX_ROWS, Namesakes, groups_of, read_namesakes_reply
from precompute.records import Concept, ConceptName, LocalName
from tests.drawn_references import drawn_evidence
from tests.test_naming import Scripted


def name(key, text="round eye", author="llm:m", **more):
    return ConceptName(key, text, "An eye.", author, confidence=0.8, **more)


def reply(*names, start=0):
    return {"differences": "", "names": [{"row": row, "name": text} for row, text in enumerate(names, start)]}


GROUP = (name("c:0"), name("c:5"), name("c:7"))


def test_groups_are_equal_names_of_one_layer_by_a_language_model():
    names = [
        *GROUP,
        name("c:1", "Round Eye"),
        name("d:0"),
        name("c:2", "wheel"),
        name("c:3", author="person:Ada"),
        name("c:4", author="offline"),
        name("c:6", failure="no reply"),
        name("c:8", recorded=True),
    ]
    (group,) = groups_of(names)
    assert [found.concept for found in group] == ["c:0", "c:5", "c:7", "c:1"]
    assert groups_of([*GROUP[:1], name("c:9", second_name="wheel")]) == []


def test_a_large_group_is_asked_about_in_parts():
    parts = groups_of(name(f"c:{channel}") for channel in range(MAX_ROWS + 3))
    assert [len(part) for part in parts] == [MAX_ROWS, 3]


def told(*replies, group=GROUP):
    model = Scripted(*replies)
    return list(Namesakes(model).tell_apart([group], drawn_evidence)), model


def test_what_tells_them_apart_becomes_the_name_and_what_is_the_same_stays():
    changed, model = told(reply("large eye seen from beside", "Round eye", "round eye"))
    assert [(found.concept, found.name) for found in changed] == [("c:0", "large eye seen from beside")]
    assert (changed[0].description, changed[0].author) == ("An eye.", "llm:m")
    (request,) = model.requests
    assert "0 to 2" in request.user
    assert len(request.images) == 1


@pytest.mark.parametrize(
    "bad",
    [
        reply("a", "b"),
        reply("a", "b", "c", "d"),
        reply("a", "b", "c", start=1),
        reply("a", "3 wheels", "c"),
        reply("a", "<b>x</b>", "c"),
        reply("a", "", "c"),
        {"names": "all the same"},
        [],
        "they are all eyes",
    ],
)
def test_a_reply_that_cannot_be_used_changes_nothing(bad):
    with pytest.raises(ReplyError):
        read_namesakes_reply(bad if isinstance(bad, str) else json.dumps(bad), GROUP)
    changed, model = told(bad, ReplyError("the model refused"))
    assert changed == []
    assert len(model.requests) == 2


def test_the_sheet_has_a_row_for_each_channel():
    rows = [drawn_evidence(Concept("c", channel)).relmax for channel in range(3)]
    with Image.open(io.BytesIO(rows_sheet(rows))) as sheet:
        assert sheet.height > 3 * CELL
        assert sheet.width > 4 * CELL


def test_a_name_that_changed_takes_its_name_in_the_other_language_along():
    group = [name(f"c:{n}", local_names=(LocalName("de", "rundes Auge"),)) for n in range(3)]
    rows = [("large eye", "großes Auge"), ("small eye", ""), ("round eye", "Auge")]
    answer = {"differences": "", "names": []}
    for row, (english, german) in enumerate(rows):
        answer["names"].append({"row": row, "name": english, "local_name": german})
    model = Scripted(answer)
    changed = list(Namesakes(model, "de").tell_apart([group], drawn_evidence))
    assert [(found.name, found.local_names) for found in changed] == [
        ("large eye", (LocalName("de", "großes Auge"),)),
        ("small eye", ()),
    ]
    assert "needed in German too" in model.requests[0].system
