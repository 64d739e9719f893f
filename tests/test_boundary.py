"""What a server may do to us: the key in disguise, mutated replies, endless counts, redirects, refusals without end."""

import asyncio
import json
import logging
import random
import re
import sys
import traceback

import pytest

from precompute.config import LlmConfig
from precompute.errors import AtlasError, NamerError, ReplyError
from precompute.llm.client import LlmClient
from precompute.llm.guard import Guard
from precompute.llm.journal import Entry, Journal, spent_tokens
from precompute.llm.reply import MAX_TOKENS, Reply, parse_completion
from precompute.llm.request import Request
from precompute.llm.text import IGNORABLE, clean_line, harmless
from precompute.naming.namer import LlmNamer, read_naming_reply
from precompute.records import Concept
from tests.disguises import disguises_of
from tests.drawn_references import INPUT_SIZE, drawn_evidence
from tests.server import TestServer
from tests.test_llm import SCHEMA, ask, make_client
from tests.test_naming import GOOD

KEY = "sk-TESTKEY-0123456789abcdefXYZ"


DISGUISES = disguises_of(KEY)


def test_there_are_at_least_thirty_disguises():
    assert len(DISGUISES) >= 30


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_disguise_is_seen_through(disguise):
    assert Guard(KEY).gives_away(f"the server says {DISGUISES[disguise]} and no more")


def test_ordinary_replies_give_nothing_away():
    assert not Guard(KEY).gives_away(json.dumps(GOOD) * 20)


@pytest.mark.parametrize(
    "place", ["name", "description", "common", "raw text", "refusal", "400", "500", "404", "reason phrase"]
)
def test_the_key_in_any_disguise_reaches_nothing(tmp_path, caplog, capfd, place):
    """Records, journal, log, terminal and errors are read as a whole: no reading of them gives the key away."""
    caplog.set_level(logging.DEBUG)
    guard = Guard(KEY)
    # A digest that reads like a part of the key by chance is another one for another port; a leak comes again.
    leaks = [
        disguise
        for number, (disguise, text) in enumerate(DISGUISES.items())
        if all(guard.gives_away(_left_behind(tmp_path / f"{number}-{again}", place, text)) for again in range(2))
    ]
    shown = caplog.text + "".join(capfd.readouterr())
    assert leaks == []
    assert not guard.gives_away(shown)


def _left_behind(folder, place, text):
    """All that a run leaves in records, journal and errors where a server says the text there."""
    with TestServer(lambda body, text=text: _echoing(place, text)) as server:
        server.error_text = f"bad key {text}" if place in {"400", "500", "404", "reason phrase"} else None
        server.reason_phrase = text if place == "reason phrase" else "X"
        server.refusal_text = text if place == "refusal" else None
        if server.error_text:
            server.script.extend(["400" if place == "reason phrase" else place] * 40)
        config = LlmConfig(base_url=server.base_url, model="m", timeout=5.0, max_retries=0)
        client = LlmClient(config, folder, environment={"OPENAI_API_KEY": KEY}, backoff=0.001)
        errors, names = [], []
        try:
            names = list(LlmNamer(client, input_size=INPUT_SIZE).name([drawn_evidence(Concept("c", 0), 2, 0)]))
        except AtlasError as error:
            errors.append(error)
    written = "".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())
    told = "".join("".join(traceback.format_exception(error)) + repr(vars(error)) for error in errors)
    assert errors or not names[0].name or place in {"name", "description", "common"}
    return f"{names}{written}{told}"


def _echoing(place, text):
    if place == "raw text":
        return text.encode(errors="replace").decode()
    return GOOD | ({place: text} if place in GOOD else {}) | {"outliers": []}


# --- replies ---------------------------------------------------------------------------------------------------


def mutated_replies(n, seed=0):
    """Make bodies of completions that are wrong somewhere: bytes, JSON values, texts and numbers."""
    rng = random.Random(seed)
    untrusted = [
        None, True, -1, 10**400, 1e15, 10**15, 1e308, "", " ", "\u2800", "\u3164", "\ud800", "\udfff x", "\u202e",
        "\ufeff", [], {}, [[]], {"a": {}}, "x" * 70_000, "<b>", "\x00", "\x1b[2J", "9" * 400, 0.5, -0.0, ["a"], [0],
    ]  # fmt: skip
    for number in range(n):
        reply = {**GOOD, "outliers": []}
        usage = {"prompt_tokens": 900, "completion_tokens": 40}
        kind = number % 6
        if kind == 0:
            reply[rng.choice(list(reply))] = rng.choice(untrusted)
        elif kind == 1:
            usage[rng.choice(list(usage))] = rng.choice(untrusted)
        elif kind == 2:
            del reply[rng.choice(list(reply))]
        text = json.dumps(reply)
        if kind == 3:
            where = rng.randrange(len(text))
            text = text[:where] + rng.choice(["\ufeff", "\ud800", "\u200b", "\x00", "}", '"', "\u2028"]) + text[where:]
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = {"choices": [choice], "usage": usage}
        if kind == 4:
            target = rng.choice([message, choice, body])
            target[rng.choice(list(target))] = rng.choice(untrusted)
        content = json.dumps(body).encode()
        if kind == 5:
            content = bytearray(content)
            for _ in range(rng.randrange(1, 4)):
                content[rng.randrange(len(content))] = rng.randrange(256)
            content = bytes(content)
        yield (b"\xef\xbb\xbf" if number % 10 == 9 else b"") + content


def outcome(body, number, journal):
    """Read a body as the client and the namer do; the name, or the reason why there is none."""
    try:
        reply = parse_completion(body, Guard(KEY))
        journal.append(Entry(str(number), "naming", "m", reply))
        assert all(-1 <= n <= MAX_TOKENS for n in (reply.input_tokens, reply.output_tokens))
        return (None, reply.failure) if reply.failure else (read_naming_reply(reply.text, 4), "")
    except ReplyError as error:
        return None, str(error)


def test_three_hundred_mutated_replies_end_as_names_or_reasons(tmp_path, capsys):
    """None ends in a traceback, none is lost in silence, and what is kept can be written and read back."""
    journal = Journal(tmp_path / "replies.jsonl")
    found = [outcome(body, number, journal) for number, body in enumerate(mutated_replies(300))]
    journal.close()
    names = [name for name, _ in found if name is not None]
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(found)} mutated replies: {len(names)} names, {len(found) - len(names)} reasons, 0 lost\n"
        )
    assert len(found) == 300
    assert all((name is None) == bool(reason) for name, reason in found)
    assert 30 < len(names) < 270
    for text in (text for name in names for text in (name.name, name.second_name, name.description, name.common)):
        assert clean_line(text) == text
        text.encode()
    assert all(name.name for name in names)
    Journal(tmp_path / "replies.jsonl").get("0")


def test_a_mutated_reply_over_http_does_not_end_the_run(tmp_path):
    with TestServer(lambda body: next(texts)) as server:
        texts = iter(["\ud800" + json.dumps(GOOD), json.dumps(GOOD | {"name": "a\ud800b"}), json.dumps(GOOD)] * 9)
        client = make_client(server, tmp_path)
        names = list(
            LlmNamer(client, input_size=INPUT_SIZE).name([drawn_evidence(Concept("c", n), 3, 0) for n in range(6)])
        )
    assert all(bool(name.name) != bool(name.failure) for name in names)
    assert sum(bool(name.name) for name in names) >= 3


@pytest.mark.parametrize("start", ["\ufeff", "\ufeff\n", " \ufeff"])
def test_a_byte_order_mark_is_taken(start):
    content = {"choices": [{"message": {"content": start + json.dumps(GOOD)}}]}
    body = b"\xef\xbb\xbf" + json.dumps(content).encode()
    assert read_naming_reply(parse_completion(body, Guard("")).text, 4).name == GOOD["name"]


@pytest.mark.parametrize("count", [10**15, 10**400, -5, 1e15, "900", True, None, MAX_TOKENS + 1])
def test_a_count_that_cannot_be_is_not_believed(count):
    body = {"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": count, "completion_tokens": 3}}
    assert parse_completion(json.dumps(body).encode(), Guard("")).input_tokens == -1


def test_a_count_kept_by_an_earlier_version_does_not_use_up_the_limit():
    assert spent_tokens(Entry("d", "naming", "m", Reply("{}", 10**15, 5))) == (MAX_TOKENS, 5)


def test_text_from_outside_is_harmless_after_one_pass():
    ugly = "a\u202eb\u200bc\x00d\x1be\ud800f\u2800g\u3164h\ufeffi\u2028j\u00a0k\ue000"
    assert harmless(ugly) == "abcdef ghi j k"
    assert harmless("x" * 50, 10) == "x" * 10
    every = "".join(map(chr, range(0x20, 0x3000)))
    once = clean_line(every)
    assert clean_line(once) == once
    once.encode()
    assert not re.search(f"[{IGNORABLE}]", once)


# --- servers that cannot do the job ----------------------------------------------------------------------------


def name_many(server, folder, n=20, **changes):
    client = make_client(server, folder, concurrency=4, **changes)
    evidence = [drawn_evidence(Concept("c", channel), 2, 0) for channel in range(n)]
    return list(LlmNamer(client, input_size=INPUT_SIZE).name(evidence))


@pytest.mark.parametrize(
    ("fault", "words", "told"),
    [
        ("400", "m takes text only and no pictures", "It says: m takes text only and no pictures"),
        ("413", "the context is 4096 tokens", "It says: the context is 4096 tokens"),
        ("500", "perhaps the projector file is missing", "perhaps the projector file is missing"),
        ("length", "", "turn that off at the server"),
    ],
)
def test_the_same_refusal_again_and_again_ends_the_run_with_the_servers_words(tmp_path, fault, words, told):
    with TestServer(script=[fault] * 200) as server:
        server.error_text = words
        with pytest.raises(NamerError) as info:
            name_many(server, tmp_path, n=60, structured_output="json_schema")
        assert told in str(info.value)
        assert server.n_calls <= 45  # of 60, and of more where a failed call is tried again
    assert not isinstance(info.value, ReplyError)


def test_the_advice_for_a_model_that_thinks_gets_further(tmp_path):
    with TestServer(script=["length"] * 200) as server:
        with pytest.raises(NamerError, match="turn that off"):
            name_many(server, tmp_path)
        server.script.clear()
        assert all(name.name for name in name_many(server, tmp_path))


def test_single_refusals_among_replies_end_nothing(tmp_path):
    with TestServer(script=["ok", "400", "ok", "ok", "400", "ok", "ok", "400"]) as server:
        server.error_text = "not this one"
        names = name_many(server, tmp_path, structured_output="json_schema", n=12)
    failed = [name for name in names if name.failure]
    assert len(failed) == 3
    assert not any("not this one" in name.failure for name in failed)


def test_a_redirect_is_not_followed(tmp_path):
    with TestServer() as other, TestServer(script=["307", "308", "302"]) as server:
        server.location = f"{other.base_url}/chat/completions"
        for _ in range(3):
            (error,) = ask(make_client(server, tmp_path), "u")
            assert "sends requests on to another address" in str(error)
            assert not isinstance(error, ReplyError)
        assert other.n_calls == 0


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SSL_CERT_FILE", "/nowhere/cert.pem"),
        ("HTTP_PROXY", "http://user:hidden@127.0.0.1:9"),
        ("ALL_PROXY", "nonsense://x"),
    ],
)
def test_a_proxy_or_certificate_that_leads_nowhere_is_told_without_its_value(tmp_path, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    config = LlmConfig(base_url="http://server.invalid/v1", model="m", max_retries=0, timeout=5.0)
    client = LlmClient(config, tmp_path, environment={variable: value}, backoff=0.001)
    errors = ask(client, *(str(n) for n in range(6)))
    assert variable in str(errors[-1])
    assert not any("hidden" in str(error) or "nowhere/" in str(error) for error in errors)


def test_a_batch_with_ids_that_are_none_is_one_message(tmp_path):
    with TestServer() as server:
        server.batch_fields = {"id": "\ud800/../x"}
        client = make_client(server, tmp_path)
        with pytest.raises(NamerError, match="no id or status"):
            asyncio.run(_submit(client))


async def _submit(client):
    try:
        await client.submit_batch(json.dumps(Request("naming", "s", "u", (), SCHEMA).body("m", "prompt")).encode())
    finally:
        await client.close()
