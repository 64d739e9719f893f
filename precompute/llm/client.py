"""The language model behind an OpenAI-compatible server: the only module that imports openai.

Owns the key, concurrency, time limits, retries, the fallbacks of structured output, and the order "kept reply, cost
limit, call, journal". Must not know what prompts mean or what a reply says.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import random
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import openai

from precompute.config import LlmConfig
from precompute.errors import NamerError, NoReplyError, ReplyError

from .costs import TYPICAL_OUTPUT_TOKENS, Budget, Estimate, Prices
from .faults import TransientError, lacks_parameter, may_lack_format, refusal, server_gone
from .journal import Entry, Journal, spent_tokens
from .reply import Reply, parse_completion, require_sendable, retry_after, scrubber
from .request import DEFAULT_BASE_URL, STRUCTURED_OUTPUTS, Request, StructuredOutput, checked_url, is_json

logger = logging.getLogger(__name__)

MAX_BYTES = 256 * 1024
"""Of one reply; a model that loops is cut off there."""
MAX_FAILED_IN_A_ROW = 5
"""Requests without any answer, retries included, after which the server counts as gone."""


class LlmClient:
    """A language model that answers each request once and remembers it.

    Parameters
    ----------
    config : LlmConfig
    cache_dir : Path
        Holds ``replies.jsonl``, the journal and reply cache.
    seed : int
        Of the jitter between retries.
    dry_run : bool
        Refuse every call; `estimate` still works.
    asking : int
        Raise it to ask again what has a kept reply (for concepts recorded as failed).
    environment : mapping
        Where the key is looked up.
    backoff : float
        Seconds before the first retry; doubles each time.

    Raises
    ------
    NamerError
        No key in the environment although OpenAI's own server is meant.
    ConfigError
        A key or password inside `base_url`.
    """

    def __init__(
        self,
        config: LlmConfig,
        cache_dir: Path,
        *,
        seed: int = 0,
        dry_run: bool = False,
        asking: int = 0,
        environment: Mapping[str, str] = os.environ,
        backoff: float = 0.5,
    ) -> None:
        self.model = config.model
        self.concurrency = config.concurrency
        self.config = config
        self.base_url = checked_url(config.base_url)
        self.journal = Journal(cache_dir / "replies.jsonl")
        self.budget = Budget(Prices.of(config))
        self._key = environment.get(config.key_variable, "").strip()
        self._scrub = scrubber(self._key)
        self._seed, self._dry_run, self._asking, self._backoff = seed, dry_run, asking, backoff
        self._mode: StructuredOutput = "json_schema" if config.structured_output == "auto" else config.structured_output
        self._mode_works = config.structured_output != "auto"
        self._spell_out = False
        self._limit_key = "max_completion_tokens"
        self._failed_in_a_row = 0
        self._counted_entries = 0
        self._session: _Session | None = None

    def __repr__(self) -> str:
        """Show the server and the model, never the key."""
        return f"LlmClient(model={self.model!r}, base_url={self.base_url!r})"

    async def complete(
        self,
        *,
        task: str,
        system: str,
        user: str,
        images: Sequence[bytes] = (),
        schema: Mapping[str, Any],
        max_output_tokens: int = 4096,
    ) -> str:
        """Ask once; the text of the reply, JSON by `schema` where the model obeyed.

        Raises
        ------
        ReplyError
            This request has no usable reply; others may have.
        NamerError
            No request can be answered: key, model, server or cost limit.
        """
        return await self.answer(Request(task, system, user, tuple(images), schema, max_output_tokens))

    async def answer(self, request: Request) -> str:
        """Like `complete`, for a request made before."""
        digest = self.digest(request)
        reply = self.kept(digest)
        if reply is None:
            reply = await self._ask(request, digest)
        if reply.failure:
            raise ReplyError(reply.failure)
        return reply.text

    def digest(self, request: Request) -> str:
        """Digest by which the reply to a request is kept."""
        return request.digest(self.model, self.base_url, self._asking)

    def kept(self, digest: str) -> Reply | None:
        """Return the complete reply of an earlier call, None where there is none."""
        reply = self.journal.get(digest)
        self._count_earlier_spending()
        return reply

    def keep(self, digest: str, task: str, reply: Reply) -> None:
        """Put a complete reply into the journal and pay for it; an empty digest pays for a call without one."""
        self._count_earlier_spending()
        entry = Entry(digest, task, self.model, reply)
        self.journal.append(entry)
        self._counted_entries = len(self.journal.entries)
        self.budget.pay(*spent_tokens(entry), batch=reply.batch)

    def estimate(self, requests: Iterable[Request], *, batch: bool = False, waiting: Collection[str] = ()) -> Estimate:
        """Count calls, tokens and cost, as batches on request; makes no call, and `waiting` are digests asked for."""
        n_requests = n_kept = n_waiting = n_input = n_most = 0
        for request in requests:
            n_requests += 1
            digest = self.digest(request)
            if self.kept(digest) is not None:
                n_kept += 1
            elif digest in waiting:
                n_waiting += 1
            else:
                n_input += request.input_tokens()
                n_most += request.max_output_tokens
        n_output = TYPICAL_OUTPUT_TOKENS * (n_requests - n_kept - n_waiting)
        cost, most = (self.budget.prices.cost(n_input, n, batch=batch) for n in (n_output, n_most))
        return Estimate(n_requests, n_kept, n_input, n_output, cost, most, n_waiting, batch)

    async def close(self) -> None:
        """Close connections and the journal; the client may be used again afterwards, in another event loop too."""
        session, self._session = self._session, None
        if session is not None:
            for running in session.running.values():
                running.cancel()
            await asyncio.gather(*session.running.values(), return_exceptions=True)
            await session.http.close()
        self.journal.close()

    def require_calls(self) -> None:
        """Refuse to go on where no call may be made."""
        if self._dry_run:
            raise NamerError("a dry run makes no call to the language model; leave --dry-run out to run it")
        require_sendable(self._key, self.config.key_variable)
        if not self._key and self.base_url == DEFAULT_BASE_URL:
            raise NamerError(
                f"no key for the language model: the environment variable {self.config.key_variable} is empty. "
                "Set it, or set llm.base_url to a server of your own, or set llm.enabled = false for the offline namer."
            )

    def session(self) -> _Session:
        """Return the connections of the running event loop."""
        loop = asyncio.get_running_loop()
        if self._session is None or self._session.loop is not loop:
            self.require_calls()
            http = openai.AsyncOpenAI(
                api_key=self._key or "none", base_url=self.base_url, timeout=self.config.timeout, max_retries=0
            )
            self._session = _Session(loop, http, asyncio.Semaphore(self.config.concurrency), asyncio.Condition(), {})
        return self._session

    def scrub(self, text: str) -> str:
        """Take the key, and all that looks like one, out of a text."""
        return self._scrub(text)

    @property
    def structured_output(self) -> StructuredOutput:
        """The way of asking for structured output that is in use."""
        return self._mode

    async def submit_batch(self, content: bytes) -> str:
        """Upload a file of requests and submit it as a batch; returns the batch's id."""
        with self._patient() as http:
            file = await http.files.create(file=("requests.jsonl", content), purpose="batch")
            batch = await http.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
        return batch.id

    async def batch_status(self, batch_id: str) -> tuple[str, tuple[str, ...]]:
        """Return a batch's status and the ids of its result files."""
        with self._patient() as http:
            batch = await http.batches.retrieve(batch_id)
        return batch.status, tuple(file for file in (batch.output_file_id, batch.error_file_id) if file)

    async def download(self, file_id: str) -> bytes:
        """Return the content of a result file."""
        with self._patient() as http:
            return (await http.files.content(file_id)).content

    @contextmanager
    def _patient(self) -> Iterator[openai.AsyncOpenAI]:
        """Give connections that retry by themselves; what openai raises becomes an error that ends the run."""
        try:
            yield self.session().http.with_options(max_retries=self.config.max_retries)
        except openai.APIStatusError as error:
            raise NamerError(str(self._refusal(error))) from None
        except openai.OpenAIError as error:
            raise NamerError(f"cannot use the server at {self.base_url}: {self._scrub(_cause(error))}") from None

    async def _ask(self, request: Request, digest: str) -> Reply:
        session = self.session()
        running = session.running.get(digest)
        if running is None:
            running = asyncio.ensure_future(self._ask_server(session, request, digest))
            session.running[digest] = running
            running.add_done_callback(functools.partial(session.forget, digest))
        return await asyncio.shield(running)

    async def _ask_server(self, session: _Session, request: Request, digest: str) -> Reply:
        jitter = random.Random(f"{self._seed}:{digest}")
        reason = ""
        async with session.slots:
            for attempt in range(self.config.max_retries + 1):
                if self._failed_in_a_row >= MAX_FAILED_IN_A_ROW:
                    raise server_gone(self.base_url, reason or "no answer")
                try:
                    return await self._attempt(session, request, digest)
                except TransientError as fault:
                    reason = fault.reason
                    logger.debug("%s, attempt %d: %s", request.task, attempt, reason)
                    if attempt < self.config.max_retries:
                        await asyncio.sleep(self._pause(attempt, fault.wait, jitter))
            self._failed_in_a_row += 1
            if self._failed_in_a_row >= MAX_FAILED_IN_A_ROW:
                raise server_gone(self.base_url, reason)
            raise NoReplyError(f"no answer after {self.config.max_retries + 1} attempts: {reason}")

    async def _attempt(self, session: _Session, request: Request, digest: str) -> Reply:
        """Call once and pay for it; every attempt has a reservation of its own, since a lost one is paid for too."""
        async with self._reserved(session, request):
            try:
                reply = await self._call(session, request)
            except TransientError as fault:
                if fault.billed:
                    self.keep("", request.task, self._counted(request, Reply("", failure=fault.reason)))
                raise
            self._failed_in_a_row = 0
            self.budget.learn(request.input_tokens(), reply.input_tokens)
            reply = self._counted(request, reply)
            self.keep(digest, request.task, reply)
            return reply

    @asynccontextmanager
    async def _reserved(self, session: _Session, request: Request) -> AsyncIterator[None]:
        n_input = request.input_tokens()
        async with session.paid:
            while (reserved := self.budget.reserve(n_input, request.max_output_tokens)) is None:
                await session.paid.wait()
        try:
            yield
        finally:
            self.budget.release(reserved)
            async with session.paid:
                session.paid.notify_all()

    def _pause(self, attempt: int, wait: float | None, jitter: random.Random) -> float:
        pause = min(self._backoff * float(2**attempt), 30.0) * (0.5 + jitter.random() / 2)
        return pause if wait is None else wait + pause / 4

    async def _call(self, session: _Session, request: Request) -> Reply:
        """Make one call, again at once where the server lacks a way of structured output."""
        for _ in range(len(STRUCTURED_OUTPUTS) + 1):
            mode, limit_key = self._mode, self._limit_key
            try:
                body = request.body(self.model, mode, limit_key, spell_out=self._spell_out)
                reply = await self._post(session, body)
            except openai.APIStatusError as error:
                if not self._fell_back(error, mode, limit_key):
                    raise self._refusal(error) from None
            else:
                self._mode_works = True
                # Some servers take the schema, say nothing and ignore it: then the prompt has to hold it.
                self._spell_out = self._spell_out or not is_json(reply.text)
                return reply
        raise NoReplyError("the server refused every way of asking for structured output")

    async def _post(self, session: _Session, body: dict[str, Any]) -> Reply:
        try:
            async with (
                asyncio.timeout(self.config.timeout),
                session.http.chat.completions.with_streaming_response.create(**body) as response,
            ):
                content = bytearray()
                async for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > MAX_BYTES:
                        return Reply("", failure=f"the reply is longer than {MAX_BYTES // 1024} kB")
        except (TimeoutError, openai.APITimeoutError):
            raise TransientError(f"no answer within {self.config.timeout:g} s", billed=True) from None
        except openai.APIConnectionError as error:
            billed = type(error.__cause__).__name__ != "ConnectError"  # else no request was sent
            raise TransientError(f"cannot reach the server: {self._scrub(_cause(error))}", billed=billed) from None
        except openai.APIStatusError:
            raise
        except Exception as error:  # noqa: BLE001 - the transport's own errors are not part of openai's interface
            raise TransientError(f"the connection broke: {type(error).__name__}", billed=True) from None
        try:
            return parse_completion(bytes(content), self._scrub)
        except ReplyError as error:
            raise TransientError(str(error), billed=True) from None

    def _fell_back(self, error: openai.APIStatusError, mode: StructuredOutput, limit_key: str) -> bool:
        """Change what the server does not know, and say whether asking again makes sense."""
        status, detail = error.status_code, _message(error)
        if limit_key == "max_completion_tokens" and lacks_parameter(status, detail, limit_key):
            self._limit_key = "max_tokens"
            return True
        lacks = may_lack_format(status, detail, format_worked=self._mode_works)
        if self.config.structured_output != "auto" or mode == "prompt" or not lacks:
            return False
        if self._mode == mode:
            self._mode = STRUCTURED_OUTPUTS[STRUCTURED_OUTPUTS.index(mode) + 1]
            self._mode_works = False
            logger.info("%s does not take %s; using %s from now on", self.base_url, mode, self._mode)
        return True

    def _refusal(self, error: openai.APIStatusError) -> Exception:
        return refusal(
            error.status_code,
            self._scrub(_message(error)),
            retry_after(error.response.headers),
            server=self.base_url,
            model=self.model,
            key_variable=self.config.key_variable,
        )

    def _counted(self, request: Request, reply: Reply) -> Reply:
        """Fill in the most that the server can have charged for where it did not say."""
        n_input, n_output = reply.input_tokens, reply.output_tokens
        n_input = n_input if n_input >= 0 else self.budget.input_at_most(request.input_tokens())
        return replace(
            reply, input_tokens=n_input, output_tokens=n_output if n_output >= 0 else request.max_output_tokens
        )

    def _count_earlier_spending(self) -> None:
        for entry in self.journal.entries[self._counted_entries :]:
            n_input, n_output = spent_tokens(entry)
            self.budget.spent += self.budget.prices.cost(n_input, n_output, batch=entry.reply.batch)
        self._counted_entries = len(self.journal.entries)


@dataclass
class _Session:
    """What belongs to one event loop."""

    loop: asyncio.AbstractEventLoop
    http: openai.AsyncOpenAI
    slots: asyncio.Semaphore
    paid: asyncio.Condition
    running: dict[str, asyncio.Future[Reply]]

    def forget(self, digest: str, done: asyncio.Future[Reply]) -> None:
        """Take a finished call off the list; looks at its error, so that none is reported when nobody waits for it."""
        self.running.pop(digest, None)
        if not done.cancelled():
            done.exception()


def _message(error: openai.APIStatusError) -> str:
    body = error.body
    return f"{error.message} {body}" if body is not None and str(body) not in error.message else str(error.message)


def _cause(error: Exception) -> str:
    return str(error.__cause__ or error) or type(error).__name__
