"""Each way in which a server fails is told as what it is, with what helps, and tried again only where that can help."""

import asyncio
import json
import shutil
import ssl
import subprocess

import pytest

from precompute.config import LlmConfig
from precompute.errors import ConfigError, NamerError, ReplyError
from precompute.llm.client import LlmClient
from precompute.llm.request import checked_url
from tests.server import TestServer

KEY = "sk-Rt5Yq81LmZx0Pw"
PAGE = b"<!DOCTYPE html><html><title>Portal</title></html>"
OK = 200
JSON = "application/json"


def error(message, code=None, **more):
    return json.dumps({"error": {"message": f"{message} {KEY}", "code": code, **more}}).encode()


# name: status, content type, body, words of the message, calls (of up to 6 questions, each tried twice at most)
ONCE, THRICE, EACH_TWICE = 1, 3, 10
FAULTS = {
    "no such model": (
        404,
        JSON,
        error("model 'tset' not found"),
        ["no model 'tset' (404)", "did you mean 'test'", "llm.model"],
        ONCE,
    ),
    "no such model, as a bad request": (
        400,
        JSON,
        error("The model does not exist"),
        ["no model 'tset' (400)", "llm.model"],
        ONCE,
    ),
    "an address that is not there": (404, "text/html", PAGE, ["/chat/completions (404)", "llm.base_url"], ONCE),
    "a wrong key": (401, JSON, error("Incorrect API key"), ["refused the key (401)", "THE_KEY"], ONCE),
    "a key that may not": (403, JSON, error("not allowed"), ["'tset' (403)", "THE_KEY", "llm.model"], ONCE),
    "a firewall": (403, "text/html", PAGE, ["web page", "(403)", "NO_PROXY"], ONCE),
    "a proxy that asks for a password": (407, "text/html", PAGE, ["proxy", "(407)", "HTTPS_PROXY"], ONCE),
    "no money": (402, JSON, error("pay first"), ["no quota left (402)", "fill it up"], ONCE),
    "no quota": (429, JSON, error("You exceeded", "insufficient_quota"), ["no quota left (429)"], ONCE),
    "too many requests": (429, JSON, error("slow down"), ["429 (too many requests)", "llm.concurrency"], EACH_TWICE),
    "a bad gateway": (502, "text/html", PAGE, ["502 (a gateway in between", "Wait"], EACH_TWICE),
    "overloaded": (503, JSON, error("busy"), ["503 (not available)", "Wait"], EACH_TWICE),
    "a crash": (500, JSON, error("boom"), ["answered 500", "Wait"], EACH_TWICE),
    "a page in place of the API": (OK, "text/html", PAGE, ["web page", "llm.base_url", "/v1"], EACH_TWICE),
    "nothing": (OK, JSON, b"", ["empty body", "llm.base_url"], EACH_TWICE),
    "no choices": (OK, JSON, b'{"id": "x"}', ["not a chat completion", "llm.base_url"], EACH_TWICE),
    "an empty list of choices": (OK, JSON, b'{"choices": []}', ["without a choice"], EACH_TWICE),
    "an error under 200": (OK, JSON, error("upstream broke"), ["an error instead", "Wait"], EACH_TWICE),
    "a limit under 200": (OK, JSON, error("slow", 429), ["429 (too many requests)", "llm.concurrency"], EACH_TWICE),
    "a context too short": (
        *(400, JSON, error("This model's maximum context length is 4096 tokens", "context_length_exceeded")),
        *(["longer than the server takes (400)", "context of at least 8192", "per_ranking"], THRICE),
    ),
    "too large for a proxy": (413, "text/html", PAGE, ["longer than the server takes (413)"], THRICE),
    "no eyes": (
        400,
        JSON,
        error("image_url is not supported"),
        ["does not take the pictures (400)", "llm.model"],
        THRICE,
    ),
    "no projector": (500, JSON, error("image input needs an mmproj"), ["the pictures (500)", "--mmproj"], THRICE),
    "few pictures": (400, JSON, error("At most 1 image(s) may be provided"), ["fewer pictures", "--limit-mm"], THRICE),
    "another refusal": (422, JSON, error("no"), ["refused the request (422)", "llm.model"], THRICE),
}


def make_client(address, folder, **changes):
    given = {
        "model": "tset",
        "max_retries": 1,
        "timeout": 5.0,
        "structured_output": "prompt",
        "key_variable": "THE_KEY",
    }
    config = LlmConfig(base_url=address, **{**given, **changes})
    return LlmClient(config, folder, environment={"THE_KEY": KEY}, backoff=0.001)


def end_of_run(client):
    """Ask six questions one after another; returns the error that ends the run, or the last one."""

    async def run():
        found = None
        try:
            for number in range(6):
                try:
                    await client.complete(task="naming", system="s", user=str(number), schema={})
                except NamerError as error:
                    found = error
                    if not isinstance(error, ReplyError):
                        break
        finally:
            await client.close()
        return found

    return asyncio.run(run())


def check_message(found, address, words):
    assert isinstance(found, NamerError), found
    assert not isinstance(found, ReplyError), found
    message = str(found)
    for word in (address, *words):
        assert word in message
    assert KEY not in message
    assert message.isprintable()
    assert message.endswith(".")


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_as_what_it_is(tmp_path, name):
    status, kind, body, words, n_calls = FAULTS[name]
    with TestServer(script=["raw"] * 20) as server:
        server.raw["raw"] = (status, kind, body)
        found = end_of_run(make_client(server.base_url, tmp_path))
        check_message(found, server.base_url, words)
        assert server.n_calls == n_calls, "tried again where it cannot help, or not where it can"


def test_a_model_of_many_is_named(tmp_path):
    with TestServer(script=["404"] * 9) as server:
        server.models = ("qwen2-vl:7b", "llava", KEY)
        found = end_of_run(make_client(server.base_url, tmp_path, model="qwen2-vl"))
        check_message(found, server.base_url, ["no model 'qwen2-vl'", "did you mean 'qwen2-vl:7b'"])
        found = end_of_run(make_client(server.base_url, tmp_path, model="zzz"))
        check_message(found, server.base_url, ["it has", "llava"])
        server.models = None
        check_message(end_of_run(make_client(server.base_url, tmp_path)), server.base_url, ["there is no"])
        server.models = ("tset",)
        check_message(end_of_run(make_client(server.base_url, tmp_path)), server.base_url, ["there is no"])


def test_an_address_without_its_last_part_is_guessed(tmp_path):
    with TestServer() as server:
        address = server.base_url.removesuffix("/v1")
        found = end_of_run(make_client(address, tmp_path))
    check_message(found, address, [f"perhaps {address}/v1"])
    with pytest.raises(ConfigError, match="part before /chat/completions"):
        checked_url("http://localhost:8000/v1/chat/completions")


def test_a_key_that_is_wanted_and_not_there(tmp_path):
    with TestServer(key=KEY) as server:
        config = LlmConfig(base_url=server.base_url, model="test", key_variable="THE_KEY")
        found = end_of_run(LlmClient(config, tmp_path, environment={}))
    check_message(found, server.base_url, ["wants a key (401), and none was sent", "THE_KEY"])


def test_a_filter_ends_single_requests_and_no_run(tmp_path):
    with TestServer(script=["raw"] * 20) as server:
        server.raw["raw"] = (400, JSON, error("triggered our content management policy", "content_filter"))
        found = end_of_run(make_client(server.base_url, tmp_path))
        assert isinstance(found, ReplyError)
        assert str(found) == "the server's content filter refused the request (400)"
        assert server.n_calls == 6, "each once"


def test_nobody_listens(tmp_path):
    with TestServer() as server:
        pass
    found = end_of_run(make_client(server.base_url, tmp_path))
    check_message(found, server.base_url, ["Connection refused", "Start the server", "llm.base_url"])


def test_no_answer_in_time(tmp_path):
    with TestServer(script=["hang"] * 20) as server:
        found = end_of_run(make_client(server.base_url, tmp_path, timeout=0.05))
        check_message(found, server.base_url, ["no answer within 0.05 s", "llm.timeout"])


def ask_listener(folder, answer, words, **options):
    """Ask a listener of one's own, over https."""

    async def run():
        listener = await asyncio.start_server(answer, "127.0.0.1", 0, **options)
        address = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
        client = make_client(address, folder)
        try:
            with pytest.raises(NamerError) as info:
                await client.complete(task="naming", system="s", user="u", schema={})
        finally:
            await client.close()
            listener.close()
        check_message(info.value, address, words)

    asyncio.run(run())


def test_a_server_without_tls(tmp_path):
    def answer(reader, writer):
        del reader
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    ask_listener(tmp_path, answer, ["does not speak TLS", "http://"])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl, which is not here")
def test_a_certificate_that_nobody_signed(tmp_path):
    line = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key -out cert -days 2 -subj /CN=x"
    subprocess.run(["openssl", *line.split()], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")

    words = ["certificate is not trusted", "self-signed", "SSL_CERT_FILE"]
    ask_listener(tmp_path, lambda reader, writer: writer.close(), words, ssl=context)
