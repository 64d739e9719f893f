"""The batch API: submit thousands of requests, leave, and collect the replies later at half the price.

Owns the state file that remembers what was submitted, and the lines of request and result files. Collected replies
enter the same journal as live ones, so that a stage run afterwards finds them there. Must not know openai or what
prompts mean.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from precompute.atlas.json_records import read_json, write_json
from precompute.errors import NamerError, ReplyError
from precompute.printing.numbers import count

from .client import LlmClient
from .reply import parse_completion
from .request import Request, StructuredOutput

logger = logging.getLogger(__name__)

MAX_REQUESTS = 50_000
MAX_FILE_BYTES = 100_000_000
"""Of one request file; the API allows twice that."""

_RUNNING = frozenset({"validating", "in_progress", "finalizing", "cancelling"})


@dataclass(frozen=True)
class SubmittedBatch:
    """One batch as the state file remembers it.

    Attributes
    ----------
    batch_id, model, base_url : str
    tasks : dict of str to str
        Task by digest of the request.
    cost_at_most : float
        US dollars.
    status : str
        As the server said last.
    collected : bool
        Its replies are in the journal.
    """

    batch_id: str
    model: str
    base_url: str
    tasks: dict[str, str]
    cost_at_most: float
    status: str = "validating"
    collected: bool = False


@dataclass(frozen=True)
class SubmittedBatches:
    """The content of ``llm/batches.json``."""

    FILE_FORMAT: ClassVar[tuple[str, int]] = ("llm-batches", 1)

    batches: tuple[SubmittedBatch, ...]


@dataclass(frozen=True)
class Collected:
    """What `BatchRunner.collect` found.

    Attributes
    ----------
    n_replies : int
        Put into the journal now.
    n_failed : int
        Requests that the server gave no usable answer to; a live run asks them again.
    n_unknown : int
        Results whose id nobody asked for; left out.
    n_waiting : int
        Batches still running.
    """

    n_replies: int = 0
    n_failed: int = 0
    n_unknown: int = 0
    n_waiting: int = 0


class BatchRunner:
    """Submits requests of one client as batches and collects their replies.

    Parameters
    ----------
    client : LlmClient
    state : Path
        State file; what is in it is not submitted again.
    """

    def __init__(self, client: LlmClient, state: Path) -> None:
        self._client, self._path = client, state
        self._batches = list(read_json(state, SubmittedBatches).batches) if state.exists() else []

    @property
    def batches(self) -> tuple[SubmittedBatch, ...]:
        """All batches ever submitted with this state file."""
        return tuple(self._batches)

    @property
    def waiting(self) -> frozenset[str]:
        """Digests of the requests of batches that are not collected yet."""
        return frozenset(digest for batch in self._batches if not batch.collected for digest in batch.tasks)

    async def submit(self, requests: Iterable[Request]) -> int:
        """Submit what has neither a kept reply nor a running batch; returns the number of requests submitted.

        Raises
        ------
        NamerError
            All of it could exceed the cost limit (nothing is submitted then), or the server refused.
        """
        running = self.waiting
        new: dict[str, Request] = {}
        for request in requests:
            digest = self._client.digest(request)
            if digest not in running and self._client.kept(digest) is None:
                new[digest] = request
        self._require_budget(new.values())
        for part, content in self._files(new):
            batch_id = await self._client.submit_batch(content)
            tasks = {digest: new[digest].task for digest in part}
            cost = self._cost(new[digest] for digest in part)
            self._batches.append(SubmittedBatch(batch_id, self._client.model, self._client.base_url, tasks, cost))
            self._save()
        return len(new)

    async def collect(self) -> Collected:
        """Fetch the results of all batches that have ended and put the replies into the journal."""
        total = Collected()
        for index, batch in enumerate(self._batches):
            if batch.collected:
                continue
            self._require_same_server(batch)
            status, files = await self._client.batch_status(batch.batch_id)
            if status in _RUNNING:
                total = replace(total, n_waiting=total.n_waiting + 1)
                self._batches[index] = replace(batch, status=status)
                continue
            lines = b"\n".join([await self._client.download(file_id) for file_id in files]).splitlines()
            total = self._keep(batch, lines, total)
            self._batches[index] = replace(batch, status=status, collected=True)
            self._save()
        self._save()
        return total

    def _cost(self, requests: Iterable[Request]) -> float:
        return self._client.estimate(requests, batch=True).cost_at_most

    def _require_budget(self, requests: Collection[Request]) -> None:
        waiting = sum(batch.cost_at_most for batch in self._batches if not batch.collected)
        cost = self._cost(requests) + waiting
        if requests and self._client.budget.spent + cost > self._client.budget.prices.max_cost:
            what = f"the batch of these {count(len(requests))} requests"
            if n_waiting := len(self.waiting):
                what += f", with the {count(n_waiting)} requests in batches not collected yet,"
            raise self._client.budget.exceeded(cost, what)

    def _files(self, requests: dict[str, Request]) -> Iterable[tuple[list[str], bytes]]:
        part: list[str] = []
        content = bytearray()
        for digest, request in requests.items():
            line = (
                json.dumps(_line(digest, request, self._client.model, self._client.structured_output)).encode() + b"\n"
            )
            if part and (len(part) == MAX_REQUESTS or len(content) + len(line) > MAX_FILE_BYTES):
                yield part, bytes(content)
                part, content = [], bytearray()
            part.append(digest)
            content += line
        if part:
            yield part, bytes(content)

    def _require_same_server(self, batch: SubmittedBatch) -> None:
        if (batch.model, batch.base_url) != (self._client.model, self._client.base_url):
            raise NamerError(
                f"batch {batch.batch_id} was submitted to {batch.model} at {batch.base_url}, the config now says "
                f"{self._client.model} at {self._client.base_url}. Put llm.model and llm.base_url back to collect it, "
                f"or delete {self._path} to give it up."
            )

    def _keep(self, batch: SubmittedBatch, lines: list[bytes], total: Collected) -> Collected:
        left = dict(batch.tasks)
        n_unknown = n_replies = 0
        for line in lines:
            digest, body = _result(line)
            if digest not in left:
                n_unknown += bool(line.strip())
                continue
            try:
                reply = parse_completion(body, self._client.guard, batch=True)
            except ReplyError as error:
                logger.warning("batch %s: one result cannot be used: %s", batch.batch_id, error)
                continue
            self._client.keep(digest, left.pop(digest), reply)
            n_replies += 1
        return Collected(
            total.n_replies + n_replies, total.n_failed + len(left), total.n_unknown + n_unknown, total.n_waiting
        )

    def _save(self) -> None:
        write_json(self._path, SubmittedBatches(tuple(self._batches)))


def _line(digest: str, request: Request, model: str, mode: StructuredOutput) -> dict[str, Any]:
    body = request.body(model, mode)
    return {"custom_id": digest, "method": "POST", "url": "/v1/chat/completions", "body": body}


def _result(line: bytes) -> tuple[str, bytes]:
    """Take one line of a result file apart: the request's digest, and the body of the answer."""
    try:
        result = json.loads(line)
        response = result.get("response") or {}
        body = response.get("body") if response.get("status_code") == 200 else None
        return str(result["custom_id"]), json.dumps(body).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "", b""
