"""A language-model server for tests: the real protocol over real HTTP, and every way of misbehaving on demand.

Speaks ``/v1/chat/completions`` (with pictures), ``/v1/models``, ``/v1/files`` and ``/v1/batches``; ``/stats`` tells
how often each request came. Standard library only. In a test: ``with TestServer() as server: ... server.base_url``.
As a process: ``python -m tests.server --port 0 --fault-rate 0.01 --delay 0.05`` prints its address and serves.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from email.message import Message
from email.parser import BytesHeaderParser
from typing import Any

from tests.server_answers import FAULTS, Answer, pictures, plausible_answer, sha256, spoiled


class TestServer:
    """One server on 127.0.0.1, in a thread of its own.

    Parameters
    ----------
    answer : callable, optional
        From the request body to the text (str) or the JSON value that the model writes.
    rates : mapping of fault to share, optional
        Drawn for every call with `seed`.
    script : iterable of str
        Faults (or ``ok``, or any HTTP status) for the first calls, in order of arrival.
    delay : float
        Seconds before each answer.
    formats : tuple of str
        The response formats it knows; others get 400.
    limit_keys : tuple of str
        The names of the output limit it knows; others get 400.
    key : str, optional
        The key it asks for; others get 401.
    retry_after : str
        Sent with 429 and 503.

    Attributes
    ----------
    raw : dict
        Faults of one's own: status, content type and body.
    models : tuple of str or None
        What it lists; None answers 404.
    """

    __test__ = False

    def __init__(
        self,
        answer: Answer = plausible_answer,
        *,
        rates: Mapping[str, float] | None = None,
        script: Iterable[str] = (),
        delay: float = 0.0,
        formats: tuple[str, ...] = ("json_schema", "json_object"),
        limit_keys: tuple[str, ...] = ("max_completion_tokens", "max_tokens"),
        key: str | None = None,
        retry_after: str = "0.05",
        seed: int = 0,
        port: int = 0,
    ) -> None:
        self.answer, self.rates, self.script, self.delay = answer, dict(rates or {}), deque(script), delay
        self.formats, self.limit_keys, self.key, self.retry_after = formats, limit_keys, key, retry_after
        self.port = port
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[Message] = []
        self.keep_bodies = True
        self.calls: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.concepts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.batch_delay = 0
        self.batch_fields: dict[str, Any] = {}
        self.error_text: str | None = None
        self.refusal_text: str | None = None
        self.reason_phrase = "X"
        self.location = ""
        self.raw: dict[str, tuple[int, str, bytes]] = {}
        self.models: tuple[str, ...] | None = ("test",)
        self.n_running = self.most_running = 0
        self._chance = random.Random(seed)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """Address for `LlmConfig.base_url`."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def n_calls(self) -> int:
        """Chat completions asked for."""
        return sum(self.calls.values())

    def __enter__(self) -> TestServer:
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True)
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop and self._stop:
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread:
            self._thread.join(10)

    async def serve(self) -> None:
        """Serve until stopped."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        connections: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            connections.add(task)
            try:
                await self._connection(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                connections.discard(task)
                writer.close()
                with suppress(ConnectionError, asyncio.CancelledError):
                    await writer.wait_closed()

        server = await asyncio.start_server(accept, "127.0.0.1", self.port, limit=2**26)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            line, _, rest = head.partition(b"\r\n")
            method, path, _ = line.decode().split(" ", 2)
            headers = BytesHeaderParser().parsebytes(rest)
            content = await reader.readexactly(int(headers.get("content-length", 0)))
            self.n_running += 1
            self.most_running = max(self.most_running, self.n_running)
            try:
                going_on = await self._respond(writer, method, path.split("?")[0], headers, content)
            finally:
                self.n_running -= 1
            if not going_on:
                return

    async def _respond(  # noqa: PLR0911 - one return for each address
        self, writer: asyncio.StreamWriter, method: str, path: str, headers: Message, content: bytes
    ) -> bool:
        if path == "/stats":
            return await _send(writer, 200, self.stats())
        if self.key is not None and headers.get("authorization") != f"Bearer {self.key}":
            given = headers.get("authorization", "")
            return await _send(writer, 401, {"error": {"message": f"Incorrect API key provided: {given}"}})
        if path == "/v1/models":
            if self.models is None:
                return await _send(writer, 404, {})
            return await _send(
                writer, 200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]}
            )
        if path == "/v1/chat/completions":
            return await self._chat(writer, headers, json.loads(content))
        if path.startswith("/v1/files"):
            return await self._files(writer, method, path, headers, content)
        if path.startswith("/v1/batches"):
            return await self._batches(writer, method, path, content)
        return await _send(writer, 404, {"error": {"message": f"no such address: {path}"}})

    def stats(self) -> dict[str, Any]:
        """Counts so far: calls, complete answers, by request and by pictures."""
        return {
            "n_calls": self.n_calls,
            "calls": dict(self.calls),
            "answered": dict(self.answered),
            "concepts": dict(self.concepts),
            "faults": dict(self.faults),
            "most_running": self.most_running,
        }

    def draw_fault(self) -> str:
        """Take the next fault: from the script, then by the rates; ``ok`` for none."""
        if self.script:
            return self.script.popleft()
        draw = self._chance.random()
        for fault, rate in self.rates.items():
            draw -= rate
            if draw < 0:
                return fault
        return "ok"

    async def _chat(self, writer: asyncio.StreamWriter, headers: Message, body: dict[str, Any]) -> bool:
        digest = sha256(body["messages"])
        self.calls[digest] += 1
        self.concepts[sha256(pictures(body))] += 1
        if self.keep_bodies:
            self.bodies.append(body)
            self.headers.append(headers)
        unknown = self._unknown_parameter(body)
        if unknown:
            return await _send(writer, 400, {"error": {"message": f"unknown parameter: {unknown}"}})
        fault = self.draw_fault()
        self.faults[fault] += 1
        if self.delay:
            await asyncio.sleep(self.delay)
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault in self.raw:
            status, kind, content = self.raw[fault]
            return await _send_raw(writer, status, content, kind)
        if fault.isdecimal():
            extra = {"retry-after": self.retry_after} if fault in {"429", "503"} else {}
            extra |= {"location": self.location} if self.location else {}
            text = f"test fault {fault}" if self.error_text is None else self.error_text
            reason = self.reason_phrase.encode("latin-1", "replace").decode("latin-1").replace("\n", " ")
            return await _send(writer, f"{fault} {reason}", {"error": {"message": text}}, extra)
        if fault == "html":
            return await _send_raw(writer, 200, b"<!DOCTYPE html><html><body>Bad gateway</body></html>", "text/html")
        completion = self.completion(body, fault)
        if fault == "cut":
            return await _send_cut(writer, json.dumps(completion).encode())
        self.answered[digest] += 1
        return await _send(writer, 200, completion)

    def _unknown_parameter(self, body: dict[str, Any]) -> str:
        kind = body.get("response_format", {}).get("type")
        if kind is not None and kind not in self.formats:
            return f"response_format {kind}"
        name = body.get("response_format", {}).get("json_schema", {}).get("name", "ok")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            return f"response_format.json_schema.name {name!r}"
        wrong = [key for key in ("max_tokens", "max_completion_tokens") if key in body and key not in self.limit_keys]
        return wrong[0] if wrong else ""

    def completion(self, body: dict[str, Any], fault: str = "ok") -> dict[str, Any]:
        """Build the chat completion that answers a request."""
        message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
        if fault == "refusal" or self.refusal_text:
            message["refusal"] = (
                self.refusal_text or "I'm sorry, I can't help with identifying what is in these images."
            )
        elif fault == "megabyte":
            message["content"] = "very " * 200_000
        else:
            answer = self.answer(body)
            message["content"] = answer if isinstance(answer, str) else spoiled(answer, fault)
        n_output = len(message["content"] or "") // 4
        usage = {"prompt_tokens": 1000, "completion_tokens": n_output, "total_tokens": 1000 + n_output}
        choice = {"index": 0, "message": message, "finish_reason": "length" if fault == "length" else "stop"}
        return {
            "id": "chatcmpl-test",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
        }

    async def _files(
        self, writer: asyncio.StreamWriter, method: str, path: str, headers: Message, content: bytes
    ) -> bool:
        if method == "POST":
            file_id = f"file-{len(self.files)}"
            self.files[file_id] = _form_file(headers, content)
            return await _send(writer, 200, _file_object(file_id, self.files[file_id]))
        file_id = path.removeprefix("/v1/files/").removesuffix("/content")
        if file_id not in self.files:
            return await _send(writer, 404, {"error": {"message": "no such file"}})
        if path.endswith("/content"):
            return await _send_raw(writer, 200, self.files[file_id], "application/octet-stream")
        return await _send(writer, 200, _file_object(file_id, self.files[file_id]))

    async def _batches(self, writer: asyncio.StreamWriter, method: str, path: str, content: bytes) -> bool:
        if method == "POST" and path == "/v1/batches":
            wanted = json.loads(content)
            batch_id = f"batch_{len(self.batches)}"
            self.batches[batch_id] = _batch_object(batch_id, wanted["input_file_id"])
            self.batches[batch_id]["left"] = self.batch_delay
            return await _send(writer, 200, self.batches[batch_id] | self.batch_fields)
        batch = self.batches.get(path.removeprefix("/v1/batches/"))
        if batch is None:
            return await _send(writer, 404, {"error": {"message": "no such batch"}})
        if batch["status"] == "in_progress":
            if batch["left"] <= 0:
                self._run_batch(batch)
            batch["left"] -= 1
        return await _send(writer, 200, batch)

    def _run_batch(self, batch: dict[str, Any]) -> None:
        outputs, errors = [], []
        for line in self.files[batch["input_file_id"]].splitlines():
            question = json.loads(line)
            fault = self.draw_fault()
            self.faults[fault] += 1
            self.calls[sha256(question["body"]["messages"])] += 1
            result: dict[str, Any] = {"id": "r", "custom_id": question["custom_id"], "error": None}
            if fault.isdecimal():
                result["response"] = {"status_code": int(fault), "body": {"error": {"message": "test fault"}}}
                errors.append(result)
            elif fault == "expired":
                errors.append(result | {"response": None, "error": {"code": "batch_expired", "message": "too late"}})
            elif fault != "missing":
                if fault == "wrong_custom_id":
                    result["custom_id"] = "nobody"
                body = "<html>" if fault == "html" else self.completion(question["body"], fault)
                result["response"] = {"status_code": 200, "body": body}
                outputs.append(result)
        self.files[f"{batch['id']}-out"] = "".join(json.dumps(o) + "\n" for o in outputs).encode()
        self.files[f"{batch['id']}-err"] = "".join(json.dumps(e) + "\n" for e in errors).encode()
        batch["status"] = "completed"
        batch["output_file_id"] = f"{batch['id']}-out" if outputs else None
        batch["error_file_id"] = f"{batch['id']}-err" if errors else None


def _file_object(file_id: str, content: bytes) -> dict[str, Any]:
    return {
        "id": file_id,
        "object": "file",
        "bytes": len(content),
        "created_at": 0,
        "filename": "requests.jsonl",
        "purpose": "batch",
        "status": "processed",
    }


def _batch_object(batch_id: str, file_id: str) -> dict[str, Any]:
    return {
        "id": batch_id,
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "input_file_id": file_id,
        "completion_window": "24h",
        "status": "in_progress",
        "created_at": 0,
        "output_file_id": None,
        "error_file_id": None,
    }


def _form_file(headers: Message, content: bytes) -> bytes:
    boundary = headers.get_boundary()
    assert boundary is not None
    for part in content.split(b"--" + boundary.encode()):
        head, _, body = part.partition(b"\r\n\r\n")
        if b"filename=" in head:
            return body.removesuffix(b"\r\n")
    raise ValueError("no file in the form")


async def _send(
    writer: asyncio.StreamWriter, status: int | str, value: Any, extra: Mapping[str, str] | None = None
) -> bool:
    return await _send_raw(writer, status, json.dumps(value).encode(), "application/json", extra)


async def _send_raw(
    writer: asyncio.StreamWriter, status: int | str, content: bytes, kind: str, extra: Mapping[str, str] | None = None
) -> bool:
    first = f"HTTP/1.1 {status} X" if isinstance(status, int) else f"HTTP/1.1 {status}"
    lines = [first, f"content-type: {kind}", f"content-length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (extra or {}).items()]
    writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content)
    await writer.drain()
    return True


async def _send_cut(writer: asyncio.StreamWriter, content: bytes) -> bool:
    head = f"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content[: len(content) // 2])
    await writer.drain()
    return False


def main() -> None:
    """Serve as a process of its own until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.05, help="seconds before each answer")
    parser.add_argument("--fault-rate", type=float, default=0.0, help="share of calls for each fault")
    parser.add_argument("--faults", default=",".join(FAULTS), help="which faults have that rate")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rates = dict.fromkeys(arguments.faults.split(","), arguments.fault_rate)
    server = TestServer(rates=rates, delay=arguments.delay, seed=arguments.seed, port=arguments.port)
    server.keep_bodies = False
    with server:
        print(server.base_url, flush=True)  # noqa: T201 - the address is this command's output
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
