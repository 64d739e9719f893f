"""The client: every way in which a server misbehaves, and the key that appears nowhere."""

import ast
import asyncio
import io
import json
import logging
import time
import traceback
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import precompute
from precompute.config import LlmConfig
from precompute.errors import ConfigError, NamerError, ReplyError
from precompute.llm import client as llm
from precompute.llm.client import LlmClient
from precompute.llm.guard import Guard
from precompute.llm.reply import parse_completion, retry_after, unfenced
from precompute.llm.request import Request, checked_url, is_json
from tests.server import TestServer

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
KEY = "sk-TESTKEY-0123456789abcdefXYZ"


def picture(colour=(200, 30, 30), size=64):
    encoded = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(encoded, "JPEG")
    return encoded.getvalue()


def make_client(server, folder, *, environment=None, dry_run=False, repeat=0, **changes):
    config = LlmConfig(base_url=server.base_url, model="test", timeout=1.0, max_retries=3)
    return LlmClient(
        replace(config, **changes),
        Path(folder),
        environment=environment or {},
        backoff=0.01,
        dry_run=dry_run,
        repeat=repeat,
    )


def ask(client, *users, images=(), system="s"):
    """Ask all questions at once; returns replies, and errors in the place of those that failed."""

    async def run():
        asked = (
            client.complete(task="naming", system=system, user=user, images=images, schema=SCHEMA) for user in users
        )
        try:
            return await asyncio.gather(*asked, return_exceptions=True)
        finally:
            await client.close()

    return asyncio.run(run())


def ask_one(client, user="u", images=()):
    (answer,) = ask(client, user, images=images)
    if isinstance(answer, BaseException):
        raise answer
    return answer


@pytest.mark.parametrize("fault", ["429", "500", "503", "cut", "html", "hang"])
def test_transient_fault_is_tried_again(tmp_path, fault):
    with TestServer(script=[fault]) as server:
        assert json.loads(ask_one(make_client(server, tmp_path, timeout=0.5)))["name"]
        assert server.n_calls == 2


def test_retry_after_is_waited_for(tmp_path):
    with TestServer(script=["429"], retry_after="0.6") as server:
        start = time.monotonic()
        ask_one(make_client(server, tmp_path))
        assert time.monotonic() - start >= 0.6


def test_retry_after_understands_all_three_forms():
    assert retry_after({"retry-after": "7"}) == 7
    assert retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    dates = {"retry-after": "Fri, 02 Jan 2026 00:00:30 GMT", "date": "Fri, 02 Jan 2026 00:00:00 GMT"}
    assert retry_after(dates) == 30
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None


def test_very_long_pause_ends_the_run(tmp_path):
    with (
        TestServer(script=["429"], retry_after="7200") as server,
        pytest.raises(NamerError, match="wait 7200 s") as info,
    ):
        ask_one(make_client(server, tmp_path))
    assert not isinstance(info.value, ReplyError)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("refusal", "the model refused"), ("megabyte", "longer than 256 kB")],
)
def test_complete_but_unusable_reply_is_refused_and_not_asked_for_again(tmp_path, fault, reason):
    with TestServer(script=[fault]) as server:
        for _ in range(2):
            with pytest.raises(ReplyError, match=reason):
                ask_one(make_client(server, tmp_path))
        assert server.n_calls == 1
        assert ask_one(make_client(server, tmp_path, repeat=1))


def test_fault_that_stays_is_a_reply_error_and_not_kept(tmp_path):
    with TestServer(script=["500"] * 4) as server:
        with pytest.raises(ReplyError, match="no answer after 4 attempts: the server answered 500"):
            ask_one(make_client(server, tmp_path))
        assert json.loads(ask_one(make_client(server, tmp_path)))["name"]


def test_server_that_is_gone_ends_the_run_soon(tmp_path):
    with TestServer() as server:
        pass
    client = make_client(server, tmp_path, concurrency=4, max_retries=1)
    answers = ask(client, *(str(n) for n in range(40)))
    fatal = [a for a in answers if isinstance(a, NamerError) and not isinstance(a, ReplyError)]
    assert len(fatal) >= 30
    assert "does not answer" in str(fatal[-1])


@pytest.mark.parametrize(("status", "match"), [("404", "there is no http"), ("403", "refused the key")])
def test_hopeless_status_ends_the_run(tmp_path, status, match):
    with TestServer(script=[status]) as server, pytest.raises(NamerError, match=match) as info:
        ask_one(make_client(server, tmp_path))
    assert not isinstance(info.value, ReplyError)


def test_kept_reply_is_never_asked_for_again(tmp_path):
    with TestServer() as server:
        first = ask_one(make_client(server, tmp_path), images=[picture()])
        assert ask_one(make_client(server, tmp_path), images=[picture()]) == first
        assert server.n_calls == 1


def test_digest_depends_on_everything_that_is_sent():
    request = Request("naming", "s", "u", (picture(),), SCHEMA)
    variants = [
        request,
        replace(request, task="scoring"),
        replace(request, system="S"),
        replace(request, user="U"),
        replace(request, images=(picture((0, 0, 0)),)),
        replace(request, images=(picture(), picture())),
        replace(request, schema={}),
        replace(request, max_output_tokens=5),
    ]
    digests = {variant.digest("m", "http://a") for variant in variants}
    digests |= {request.digest("n", "http://a"), request.digest("m", "http://b"), request.digest("m", "http://a", 1)}
    assert len(digests) == len(variants) + 3


def test_same_question_at_the_same_time_is_asked_once(tmp_path):
    with TestServer(delay=0.1) as server:
        answers = ask(make_client(server, tmp_path), "u", "u", "u")
        assert server.n_calls == 1
        assert len(set(answers)) == 1


def test_no_more_calls_at_once_than_configured(tmp_path):
    with TestServer(delay=0.05) as server:
        ask(make_client(server, tmp_path, concurrency=5), *(str(n) for n in range(20)))
        assert server.most_running == 5


@pytest.mark.parametrize(
    ("formats", "n_calls", "last"),
    [(("json_schema", "json_object"), 2, "json_schema"), (("json_object",), 3, "json_object"), ((), 4, None)],
)
def test_structured_output_falls_back_and_remembers(tmp_path, formats, n_calls, last):
    with TestServer(formats=formats) as server:
        client = make_client(server, tmp_path)
        assert ask_one(client, "first")
        assert ask_one(client, "second")
        assert server.n_calls == n_calls
        body = server.bodies[-1]
        assert body.get("response_format", {}).get("type") == last
        assert ('"required": ["name"]' in body["messages"][0]["content"]) == (last != "json_schema")


def test_schema_is_spelled_out_where_the_server_ignores_it(tmp_path):
    with TestServer(script=["invalid_json"]) as server:
        client = make_client(server, tmp_path)
        ask_one(client, "first")
        ask_one(client, "second")
        first, second = (body["messages"][0]["content"] for body in server.bodies)
        assert '"required": ["name"]' not in first
        assert '"required": ["name"]' in second
        assert server.bodies[1]["response_format"]["type"] == "json_schema"


def test_fixed_structured_output_does_not_fall_back(tmp_path):
    with TestServer(formats=()) as server, pytest.raises(ReplyError, match=r"refused the request \(400\)$"):
        ask_one(make_client(server, tmp_path, structured_output="json_schema"))


def test_old_name_of_the_output_limit_is_used_where_needed(tmp_path):
    with TestServer(limit_keys=("max_tokens",)) as server:
        assert ask_one(make_client(server, tmp_path))
        assert server.bodies[-1]["max_tokens"] == 4096


def test_fence_and_thinking_are_taken_off():
    assert unfenced('```json\n{"a": 1}\n```') == '{"a": 1}'
    assert unfenced('<think>hm {"b": 2}</think>\n{"a": 1}') == '{"a": 1}'
    assert unfenced('{"a": "```"}') == '{"a": "```"}'


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "web page"),
        (b"\n <!DOCTYPE html>", "web page"),
        (b'{"choices": [', "cut off"),
        (b"", "empty body"),
        (b"[]", "not a chat completion"),
        (b"{}", "not a chat completion"),
        (b'{"choices": []}', "without a choice"),
        (b'{"choices": [{"message": null}]}', "not a chat completion"),
        (b'{"error": {"message": "overloaded"}}', "an error instead of"),
    ],
)
def test_broken_body_is_refused_for_the_right_reason(body, reason):
    with pytest.raises(ReplyError, match=reason):
        parse_completion(body, Guard(""))


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ({"message": {"content": ""}}, "empty"),
        ({"message": {"content": None}}, "empty"),
        ({"message": {"content": 5}}, "empty"),
        ({"message": {"content": "x", "refusal": "no"}}, "the model refused"),
        ({"message": {"content": "\u2800\u3164\u200b"}}, "empty"),
        ({"message": {"content": "x" * 40_000}}, "longer than 32 kB"),
        ({"message": {"content": "x"}, "finish_reason": "content_filter"}, "content filter"),
        ({"message": {"content": "x"}, "finish_reason": "length"}, "limit of output tokens"),
    ],
)
def test_unusable_completion_carries_its_reason(choice, reason):
    assert reason in parse_completion(json.dumps({"choices": [choice]}).encode(), Guard("")).failure


def all_texts(folder, captured, errors):
    files = "".join(path.read_bytes().decode(errors="replace") for path in Path(folder).rglob("*") if path.is_file())
    traces = "".join("".join(traceback.format_exception(error)) + repr(error) + repr(vars(error)) for error in errors)
    return files + captured + traces


def test_key_is_sent_and_appears_nowhere_else(tmp_path, caplog, capfd):
    """The server echoes the key in answers and errors; no file, log, message, traceback or repr may hold it."""
    caplog.set_level(logging.DEBUG)
    errors = []
    with TestServer(lambda body: json.dumps({"name": f"your key is {KEY}"}), key=KEY) as server:
        client = make_client(server, tmp_path, environment={"OPENAI_API_KEY": KEY})
        with pytest.raises(ReplyError, match="repeats the key"):
            ask_one(client, "good")
        assert server.headers[-1]["authorization"] == f"Bearer {KEY}"
        server.script.extend(["refusal", "html", "400", "500", "429", "cut"])
        errors += [a for a in ask(client, "a", "b", "c") if isinstance(a, BaseException)]
        server.key = "another"  # from now on the key is refused, and echoed in the refusal
        errors += [a for a in ask(client, "d") if isinstance(a, BaseException)]
        assert len(errors) >= 2
        text = all_texts(tmp_path, caplog.text + "".join(capfd.readouterr()), errors) + repr(client) + str(client)
    assert "TESTKEY" not in text
    assert "replies.jsonl" in [path.name for path in tmp_path.iterdir()]


def test_a_reply_nested_too_deeply_is_a_bad_one_and_no_crash(tmp_path):
    with pytest.raises(ReplyError, match="not valid JSON"):
        parse_completion(b"[" * 100_000, Guard(""))
    assert not is_json("[" * 100_000)


def test_words_of_a_reply_are_not_taken_for_keys():
    assert not Guard("none").gives_away("none fits a key-shaped hole")
    assert not Guard("x").gives_away('{"name": "fox"}')
    assert not Guard("my-local-server").gives_away("a server of my own, local")
    assert Guard("my-local-server").gives_away("it is My Local Server")


def test_server_words_lose_what_looks_like_a_key_and_what_nobody_sees():
    assert Guard("").words("key-4f5a6b7c gsk_abcdefgh12 AIzaSyA1234567890123456789012") == "[key] [key] [key]"
    assert Guard("").words("no\u202e pictures\n\x1b[31m here\ud800") == "no pictures [31m here"
    assert Guard("").words(["a", "list"]) == ""


@pytest.mark.parametrize("key", ["sk-Never\u00f6Seen123456", "sk-Never\nSeen123456"])
def test_a_key_that_cannot_be_sent_is_told_before_any_call_and_not_shown(tmp_path, key):
    client = LlmClient(LlmConfig(key_variable="MY_KEY"), tmp_path, environment={"MY_KEY": key})
    with pytest.raises(NamerError, match="MY_KEY holds a line break") as info:
        ask_one(client)
    assert "Never" not in str(info.value)


def test_missing_key_names_the_variable_before_any_call(tmp_path):
    client = LlmClient(LlmConfig(key_variable="MY_KEY"), tmp_path, environment={})
    with pytest.raises(NamerError, match="MY_KEY is empty"):
        ask_one(client)


@pytest.mark.parametrize(
    "url",
    [
        "http://me:secret@host/v1",
        "https://host/v1?key=secret",
        "https://host/sk-secret1/v1",
        "https://host/v1#secret",
        "host/v1",
        "ftp://host",
    ],
)
def test_base_url_with_a_secret_or_no_address_is_refused(url):
    with pytest.raises(ConfigError) as info:
        checked_url(url)
    assert "secret" not in str(info.value)


def test_only_the_client_imports_openai():
    importers = set()
    for path in Path(precompute.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            importers |= {path.name for name in names if name.split(".")[0] == "openai"}
    assert importers == {Path(llm.__file__).name}
