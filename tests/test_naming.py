"""Naming by a language model: what is sent, what is let through, what becomes a failure record."""

import asyncio
import base64
import csv
import io
import json
import re
from importlib import resources
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from precompute.config import LlmConfig
from precompute.errors import ConfigError, NamerError, ReplyError
from precompute.images.contact_sheet import CELL, SPACING, naming_sheet, numbered_sheet
from precompute.images.pictures import encode_heatmap
from precompute.llm.asking import ask_all
from precompute.llm.client import LlmClient
from precompute.llm.prompts import load_prompt
from precompute.llm.schema import strict_schema
from precompute.naming.namer import LlmNamer, NamingReply, read_naming_reply
from precompute.records import Box, Concept, LayerInfo, LocalName, ReceptiveField, Reference
from precompute.records.values import NameKind
from tests.drawn_references import INPUT_SIZE, drawn_evidence, drawn_reference
from tests.server import TestServer
from tests.server_answers import FAULTS

REPLIES = sorted((Path(__file__).parent / "replies" / "naming").glob("*.json"))
GOOD = {
    "name": "wheel with bright hub",
    "description": "A dark ring around a lighter centre.",
    "kind": "part",
    "common": "Round dark rings.",
    "outliers": [2],
    "confidence": 0.8,
    "second_name": "",
}
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class Scripted:
    """A language model with queued replies; an exception in the queue is raised."""

    model, concurrency = "scripted", 4

    def __init__(self, *replies):
        self.replies, self.requests, self.n_closed = list(replies), [], 0

    async def answer(self, request):
        self.requests.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, BaseException):
            raise reply
        return reply if isinstance(reply, str) else json.dumps(reply)

    async def close(self):
        self.n_closed += 1


def name_one(model, evidence=None):
    (name,) = LlmNamer(model, input_size=INPUT_SIZE, date="2026-01-02").name(
        [evidence or drawn_evidence(Concept("c", 0))]
    )
    return name


@pytest.mark.parametrize("path", REPLIES, ids=lambda path: path.stem)
def test_bad_reply_is_refused_for_the_right_reason(path):
    case = json.loads(path.read_text(encoding="utf-8"))
    with pytest.raises(ReplyError, match=re.escape(case["reason"])):
        read_naming_reply(case["reply"], 8)


def test_there_are_at_least_sixty_bad_replies():
    assert len(REPLIES) >= 60


@pytest.mark.parametrize("missing", [key for key in GOOD if key != "name"])
def test_a_reply_that_lacks_an_optional_field_is_completed(missing):
    reply = read_naming_reply(json.dumps({key: value for key, value in GOOD.items() if key != missing}), 4)
    assert reply.name == GOOD["name"]
    assert not getattr(reply, missing) or getattr(reply, missing) == "other"


def test_the_prompt_shows_every_field_and_one_whole_reply_that_passes():
    model = Scripted(GOOD)
    name_one(model)
    (request,) = model.requests
    for field in NamingReply.model_fields:
        assert f"- `{field}` (" in request.system
    example = json.loads(re.search(r"```\n(.*?)\n```", request.system)[1])
    assert set(example) == set(NamingReply.model_fields)
    assert read_naming_reply(json.dumps(example), 8).model_dump() == example
    assert json.dumps(list(get_args(NameKind)))[1:-1].replace(", ", " | ") in request.system


def test_a_long_name_is_asked_for_shorter_and_kept_where_none_comes():
    long = "dark wheel with very bright hub"
    model = Scripted(GOOD | {"name": long}, GOOD)
    assert name_one(model).name == GOOD["name"]
    assert repr(long) in model.requests[1].user
    for second in (GOOD | {"name": long}, "no JSON", ReplyError("the model refused")):
        name = name_one(Scripted(GOOD | {"name": long}, second))
        assert (name.name, name.failure) == (long, "")
    assert name_one(Scripted(*[GOOD | {"name": "a b c d e f g h i"}] * 2)).failure


def test_good_reply_becomes_a_name():
    name = name_one(Scripted(GOOD))
    assert (name.concept, name.name, name.kind, name.outliers) == ("c:0", "wheel with bright hub", "part", (2,))
    assert (name.author, name.confidence, name.failure, name.date) == ("llm:scripted", 0.8, "", "2026-01-02")
    assert json.loads(name.raw_reply) == GOOD
    assert name.prompt_digest == load_prompt("naming").digest


def test_text_is_cleaned_of_what_cannot_be_seen():
    reply = read_naming_reply(json.dumps(GOOD | {"name": " \u202ewheel\u200b\n with\thub. "}), 4)
    assert reply.name == "wheel with hub"


@pytest.mark.parametrize(
    "name", ["roof tiles", "field crops", "O-shaped rings", "café façade", "half-timbered wall", "二つの輪"]
)
def test_ordinary_names_are_let_through(name):
    assert read_naming_reply(json.dumps(GOOD | {"name": name}), 4).name == name


def test_two_groups_lower_the_confidence():
    name = name_one(Scripted(GOOD | {"second_name": "thin twigs", "confidence": 0.97}))
    assert name.second_name == "thin twigs"
    assert name.confidence == 0.5


def test_refused_reply_is_asked_again_once_with_the_reason():
    model = Scripted(GOOD | {"confidence": 80}, GOOD)
    assert name_one(model).name == "wheel with bright hub"
    first, second = model.requests
    assert "could not be used" not in first.user
    assert "confidence" in second.user
    assert first.images == second.images


def test_twice_refused_becomes_a_failure_record_and_never_prose():
    model = Scripted("I think it is a wheel.", ReplyError("the model refused: no"), GOOD)
    name = name_one(model)
    assert len(model.requests) == 2
    assert name.name == name.description == ""
    assert "not valid JSON" in name.failure
    assert "the model refused" in name.failure
    assert name.raw_reply == "I think it is a wheel."


def test_concept_without_references_is_not_asked_about():
    model = Scripted()
    assert "no reference images" in name_one(model, drawn_evidence(Concept("c", 0), 0, 0)).failure


def test_error_of_the_whole_run_stops_it_and_closes():
    model = Scripted(GOOD, NamerError("cost limit"), *[GOOD] * 20)
    namer = LlmNamer(model, input_size=INPUT_SIZE)
    with pytest.raises(NamerError, match="cost limit"):
        list(namer.name([drawn_evidence(Concept("c", n), 3, 0) for n in range(10)]))
    assert model.n_closed == 1


def test_iterator_given_up_early_closes():
    model = Scripted(*[GOOD] * 20)
    names = LlmNamer(model, input_size=INPUT_SIZE).name([drawn_evidence(Concept("c", n), 3, 0) for n in range(10)])
    assert next(names).name
    names.close()
    assert model.n_closed == 1


def test_items_are_taken_only_as_there_is_room():
    taken = []

    def items():
        for n in range(100):
            taken.append(n)
            yield n

    async def ask(item):
        await asyncio.sleep(0)
        return item

    results = ask_all(Scripted(), items(), ask)
    first = next(results)
    assert len(taken) <= 2 * Scripted.concurrency
    assert sorted([first, *results]) == list(range(100))


def texts_of(body):
    """Everything in a request body but the picture data, as one lower-case text."""
    return re.sub(r"base64,[A-Za-z0-9+/=]+", "base64,", json.dumps(body, ensure_ascii=False)).lower()


def class_names():
    with resources.files("precompute").joinpath("images/imagenet_classes.tsv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    names = {name.strip().lower() for row in rows for name in re.split(r",\s*", row[-1])}
    return {row[1].lower() for row in rows if re.fullmatch(r"n\d{8}", row[1])}, names - {"name"}


def test_request_holds_nothing_that_identifies_a_class(tmp_path):
    """No class label of ImageNet or CIFAR, no wnid, file name, sample, layer or channel: in text or in the picture."""
    secret_concept = Concept("classifier.secretlayer", 281)
    relmax = tuple(drawn_reference(secret_concept, "relmax", rank, sample_index=770077 + rank) for rank in range(3))
    evidence = drawn_evidence(secret_concept)
    evidence = type(evidence)(secret_concept, relmax, evidence.actmax, {770077: "tabby", 770078: "n02123045_5.JPEG"})
    with TestServer(script=["wrong_schema"]) as server:
        client = LlmClient(LlmConfig(base_url=server.base_url, model="m"), tmp_path, environment={})
        (name,) = LlmNamer(client, input_size=INPUT_SIZE).name([evidence])
        assert name.name
        assert len(server.bodies) == 2  # the repeated ask is searched too
        wnids, names = class_names()
        assert len(names) > 990
        for body in server.bodies:
            text = texts_of(body)
            words = set(re.findall(r"\w+", text))
            assert not words & {"secretlayer", "classifier", "281", "770077", "770078", "tabby", "imagenet", "cifar"}
            assert not re.search(r"n\d{8}|\.jpe?g|\.png|\.webp", text.replace("image/jpeg", ""))
            assert not words & (wnids | set(CIFAR))
            found = {name for name in names if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)}
            assert not found
            for url in re.findall(r"base64,([A-Za-z0-9+/=]+)", json.dumps(body)):
                with Image.open(io.BytesIO(base64.b64decode(url))) as picture:
                    assert not picture.getexif()
                    assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_metadata_of_a_reference_does_not_reach_the_sheet():
    exif = Image.Exif()
    exif[0x010E] = "tabby cat"
    encoded = io.BytesIO()
    Image.new("RGB", (32, 32), (1, 2, 3)).save(encoded, "WEBP", exif=exif, xmp=b"<x>tabby</x>")
    content = encoded.getvalue()
    assert b"tabby" in content
    reference = Reference(Concept("c", 0), "relmax", 0, 0, 0, 1.0, Box(0, 0, 8, 8), content, content, content)
    assert b"tabby" not in naming_sheet([reference], [], 32)


def test_sheet_has_three_rows_of_relmax_and_two_of_actmax():
    evidence = drawn_evidence(Concept("c", 0), 4, 2)
    with Image.open(io.BytesIO(naming_sheet(evidence.relmax, evidence.actmax, INPUT_SIZE))) as sheet:
        assert sheet.width == 4 * (CELL + SPACING) + SPACING
        assert sheet.height >= 5 * CELL
    assert naming_sheet(evidence.relmax, (), INPUT_SIZE) == naming_sheet(evidence.relmax, (), INPUT_SIZE)


def test_frame_is_drawn_where_the_box_is():
    encoded = io.BytesIO()
    Image.new("RGB", (112, 112), (0, 0, 90)).save(encoded, "WEBP", lossless=True)
    content = encoded.getvalue()
    reference = Reference(Concept("c", 0), "relmax", 0, 0, 0, 1.0, Box(56, 112, 112, 224), content, content, content)
    with Image.open(io.BytesIO(naming_sheet([reference], [], 224))) as sheet:
        tile = sheet.convert("RGB").crop((SPACING, 16, SPACING + CELL, 16 + CELL))
    yellow = [(x, y) for x in range(CELL) for y in range(CELL) if tile.getpixel((x, y))[0] > 150]
    for found, place in (
        (min(x for x, _ in yellow), CELL / 2),
        (max(x for x, _ in yellow), CELL),
        (min(y for _, y in yellow), CELL / 4),
        (max(y for _, y in yellow), CELL / 2),
    ):
        assert abs(found - place) <= 2


def test_the_neurons_place_is_marked_and_relevance_has_a_contour():
    grey = io.BytesIO()
    Image.new("RGB", (112, 112), (90, 90, 90)).save(grey, "WEBP", lossless=True)
    heatmap = np.zeros((112, 112))
    heatmap[40:72, 40:72] = 1.0
    png, scale = encode_heatmap(heatmap)
    content = grey.getvalue()
    box = Box(0, 0, 224, 224)
    reference = Reference(Concept("c", 0), "relmax", 0, 0, 3 * 14 + 10, 1.0, box, content, content, b"", png, scale)
    info = LayerInfo("c", "Conv2d", 1, 14, 14, ReceptiveField(size=16, stride=16, start=0))
    with Image.open(io.BytesIO(naming_sheet([reference], [], 224, info))) as picture:
        sheet = np.asarray(picture.convert("RGB")).astype(int)
    tops = [16 + row * (CELL + SPACING) for row in range(3)]
    tiles = [sheet[top : top + CELL, SPACING : SPACING + CELL] for top in tops]
    white = np.argwhere(tiles[0].min(axis=2) > 170)
    assert np.abs(white.mean(axis=0) - np.array([3.5, 10.5]) * CELL / 14).max() < 3
    line = np.argwhere((tiles[2][..., 0] > 180) & (tiles[2][..., 1] < 90))
    assert len(line) > 40
    low, high = line.min(axis=0) / CELL, line.max(axis=0) / CELL
    assert np.all((low > 0.22) & (low < 0.37))
    assert np.all((high > 0.63) & (high < 0.78))
    assert np.abs(tiles[2][CELL // 2, CELL // 2] - 90).max() < 12, "nothing is dimmed"


def test_numbered_sheet_wraps():
    crops = [drawn_reference(Concept("c", 0), "relmax", rank).crop for rank in range(8)]
    with Image.open(io.BytesIO(numbered_sheet(crops, columns=6))) as sheet:
        assert sheet.width == 6 * (CELL + SPACING) + SPACING
        assert sheet.height > 2 * CELL


def test_prompt_schema_and_reply_record_agree():
    schema = strict_schema(NamingReply)
    assert set(schema["properties"]) == set(schema["required"]) == set(NamingReply.model_fields)
    generated = NamingReply.model_json_schema()["properties"]
    assert schema["properties"]["kind"]["enum"] == generated["kind"]["enum"]
    for key, value in schema["properties"].items():
        assert value["type"] == generated[key]["type"]


def test_prompt_missing_a_variable_is_refused():
    with pytest.raises(ConfigError, match="missing variables"):
        load_prompt("naming").render(n_relmax=1)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "hang"])
def test_every_concept_is_named_or_failed_whatever_the_server_does(tmp_path, fault):
    """With half of the answers spoiled, over real HTTP."""
    evidence = [drawn_evidence(Concept("c", channel), 2, 0) for channel in range(6)]
    with TestServer(rates={fault: 0.5}, seed=3) as server:
        config = LlmConfig(base_url=server.base_url, model="m", timeout=2, concurrency=4, max_retries=3)
        client = LlmClient(config, tmp_path, environment={}, backoff=0.01)
        names = list(LlmNamer(client, input_size=INPUT_SIZE).name(evidence))
        assert sorted(name.concept for name in names) == [f"c:{channel}" for channel in range(6)]
        assert all(bool(name.name) != bool(name.failure) for name in names)
        assert any(name.name for name in names)
        n_calls = server.n_calls
        again = list(LlmNamer(client, input_size=INPUT_SIZE).name(evidence))
        done = {name.concept: name for name in names if name.name}
        assert {name.concept: name for name in again if name.concept in done} == done
        if all(name.name for name in names):
            assert server.n_calls == n_calls


LOCAL = GOOD | {"local_name": "Rad mit heller Nabe", "local_second_name": ""}


def name_locally(*replies):
    model = Scripted(*replies)
    (name,) = LlmNamer(model, input_size=INPUT_SIZE, language="de").name([drawn_evidence(Concept("c", 0))])
    return name, model


def test_names_are_asked_for_in_the_language_of_the_texts_besides_english():
    name, model = name_locally(LOCAL)
    assert (name.name, name.language) == (GOOD["name"], "en")
    assert name.local_names == (LocalName("de", "Rad mit heller Nabe"),)
    assert name.in_language("de").name == "Rad mit heller Nabe"
    assert name.in_language("fr").name == GOOD["name"]
    (request,) = model.requests
    assert "also needed in German" in request.system
    assert {"local_name", "local_second_name"} <= set(request.schema["properties"])
    example = json.loads(re.search(r"```\n(.*?)\n```", request.system)[1])
    assert example["local_name"] == "Rad mit heller Nabe"
    english = Scripted(GOOD)
    assert name_one(english).local_names == ()
    assert "local_name" not in english.requests[0].system + json.dumps(english.requests[0].schema)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"local_name": ""}, ()),
        ({"local_second_name": "Zweige"}, ()),
        ({"second_name": "twigs"}, ()),
        ({"second_name": "twigs", "local_second_name": "Zweige"}, (LocalName("de", LOCAL["local_name"], "Zweige"),)),
    ],
)
def test_a_reply_without_a_whole_name_in_the_other_language_keeps_the_english_one(change, expected):
    name, model = name_locally(LOCAL | change)
    assert (name.name, name.local_names, len(model.requests)) == (GOOD["name"], expected, 1)


@pytest.mark.parametrize("bad", ["Rad <b>", "Rad 7", "Heatmap", "x" * 70, "{{ Rad }}", "https://example.org"])
def test_names_in_the_other_language_obey_the_rules_of_names(bad):
    name, model = name_locally(LOCAL | {"local_name": bad}, LOCAL)
    assert name.local_names[0].name == LOCAL["local_name"]
    assert "of the names in the other language: name" in model.requests[1].user
    assert name_locally(*[LOCAL | {"local_name": bad}] * 2)[0].failure
