"""The language model behind an OpenAI-compatible server: the only module that imports openai.

Owns the key, concurrency, time limits, retries, the fallbacks of structured output, and the order "kept reply, cost
limit, call, journal". Must not know what prompts mean or what a reply says.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import os
import random
import re
import ssl
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import openai

from precompute.config import LlmConfig
from precompute.errors import NamerError, NoReplyError, ReplyError

from .costs import TYPICAL_OUTPUT_TOKENS, Budget, Estimate, Prices
from .faults import (
    CHECK_ADDRESS,
    CHECK_REACHABLE,
    CHECK_TIMEOUT,
    ErrorAnswer,
    RefusedError,
    TransientError,
    always_refused,
    cut_off,
    lacks_parameter,
    may_lack_format,
    refusal,
    server_gone,
)
from .guard import Guard
from .journal import Entry, Journal, spent_tokens
from .reply import CUT, ErrorReplyError, Reply, parse_completion, require_sendable, retry_after
from .request import DEFAULT_BASE_URL, STRUCTURED_OUTPUTS, Request, StructuredOutput, checked_url, is_json

logger = logging.getLogger(__name__)

MAX_BYTES = 256 * 1024
"""Of one reply; a model that loops is cut off there."""
MAX_FAILED_IN_A_ROW = 5
"""Requests without any answer, retries included, after which the server counts as gone."""
MAX_REFUSED_IN_A_ROW = 3
"""Requests refused for the same reason, with no reply between them, after which nothing more is asked."""
TRIES_OF_A_LASTING_FAULT = 4
"""Attempts of a request that fails for a reason that may never pass, from a server that has not replied yet."""

# These libraries log what servers say, which is not for logs.
for _library in ("openai", "httpx", "httpx2", "httpcore", "httpcore2"):
    logging.getLogger(_library).setLevel(logging.WARNING)


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
    repeat : int
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
        repeat: int = 0,
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
        self.guard = Guard(self._key)
        self._environment = environment
        self._seed, self._dry_run, self._repeat, self._backoff = seed, dry_run, repeat, backoff
        self._mode: StructuredOutput = "json_schema" if config.structured_output == "auto" else config.structured_output
        self._mode_works = config.structured_output != "auto"
        self._spell_out = False
        self._limit_key = "max_completion_tokens"
        self._failed_in_a_row = self._refused_in_a_row = 0
        self._refused = ""
        self._has_replied = False
        self._last_fault = TransientError("no answer")
        self._last_words = self._last_remedy = ""
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
        return request.digest(self.model, self.base_url, self._repeat)

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
            http = self._connect()
            self._session = _Session(loop, http, asyncio.Semaphore(self.config.concurrency), asyncio.Condition(), {})
        return self._session

    def _connect(self) -> openai.AsyncOpenAI:
        """Make connections that never go on to another address by themselves."""
        try:
            return openai.AsyncOpenAI(
                api_key=self._key or "none",
                base_url=self.base_url,
                timeout=self.config.timeout,
                max_retries=0,
                http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False, timeout=self.config.timeout),
            )
        except (OSError, ValueError, ImportError) as error:
            reason = (error.strerror or type(error).__name__) if isinstance(error, OSError) else type(error).__name__
            raise NamerError(
                f"cannot connect to {self.base_url}: a certificate or proxy of the environment cannot be used "
                f"({reason}){self._ways()}. Put the variables right, or unset them."
            ) from None

    def _ways(self) -> str:
        """Name the variables of the environment that connections go through; never their values."""
        found = [name for name in _WAYS if self._environment.get(name) or self._environment.get(name.lower())]
        return f"; set in the environment: {', '.join(found)}" if found else ""

    @property
    def structured_output(self) -> StructuredOutput:
        """The way of asking for structured output that is in use."""
        return self._mode

    async def submit_batch(self, content: bytes) -> str:
        """Upload a file of requests and submit it as a batch; returns the batch's id."""
        with self._retrying() as http:
            file = await http.files.create(file=("requests.jsonl", content), purpose="batch")
            batch = await http.batches.create(
                input_file_id=_identifier(getattr(file, "id", None)),
                endpoint="/v1/chat/completions",
                completion_window="24h",
            )
        return _identifier(getattr(batch, "id", None))

    async def batch_status(self, batch_id: str) -> tuple[str, tuple[str, ...]]:
        """Return a batch's status and the ids of its result files."""
        with self._retrying() as http:
            batch = await http.batches.retrieve(batch_id)
        files = (getattr(batch, name, None) for name in ("output_file_id", "error_file_id"))
        status = _identifier(getattr(batch, "status", None))
        return status, tuple(_identifier(file) for file in files if file)

    async def download(self, file_id: str) -> bytes:
        """Return the content of a result file."""
        with self._retrying() as http:
            return (await http.files.content(file_id)).content

    @contextmanager
    def _retrying(self) -> Iterator[openai.AsyncOpenAI]:
        """Give connections that retry by themselves; what openai raises becomes an error that ends the run."""
        try:
            yield self.session().http.with_options(max_retries=self.config.max_retries)
        except openai.APIStatusError as error:
            raise self._ending(self._refusal(_error_answer(error, self.guard))) from None
        except openai.OpenAIError as error:
            raise NamerError(
                f"cannot use the server at {self.base_url}: {_cause(error)}{self._ways()}. {CHECK_REACHABLE}, then run "
                "the same command again."
            ) from None

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
        n_tried = n_lasting = 0
        async with session.slots:
            for attempt in range(self.config.max_retries + 1):
                self._require_server()
                try:
                    n_tried += 1
                    return await self._attempt(session, request, digest)
                except RefusedError as error:
                    raise self._counted_refusal(error) from None
                except TransientError as fault:
                    self._last_fault, self._last_words, self._last_remedy = fault, fault.words, fault.remedy
                    logger.debug("%s, attempt %d: %s", request.task, attempt, fault.reason)
                    n_lasting += fault.lasting
                    if n_lasting >= TRIES_OF_A_LASTING_FAULT and not self._has_replied:
                        break
                    if attempt < self.config.max_retries:
                        await asyncio.sleep(self._pause(attempt, fault.wait, jitter))
            self._failed_in_a_row += 1
            self._require_server()
            raise NoReplyError(f"no answer after {n_tried} attempts: {self._last_fault.reason}")

    @property
    def told(self) -> str:
        """What the server said to its last refusal, for the terminal; empty where it said nothing."""
        return f". It says: {self._last_words}" if self._last_words else ""

    @property
    def remedy(self) -> str:
        """What helps against the last fault, as a sentence without its full stop; empty where nothing is known."""
        return self._last_remedy

    def _require_server(self) -> None:
        if self._failed_in_a_row >= MAX_FAILED_IN_A_ROW:
            raise server_gone(self.base_url, self._last_fault, self._ways())

    def _ending(self, error: Exception) -> NamerError:
        """Turn what a fault means for one request into what it means where nothing else is left to ask."""
        if isinstance(error, TransientError):
            return server_gone(self.base_url, error)
        if isinstance(error, RefusedError):
            return always_refused(self.base_url, self.model, error, 1)
        return error if isinstance(error, NamerError) else NamerError(str(error))

    def _counted_refusal(self, error: RefusedError) -> NamerError:
        """Count a refusal; the same one again and again ends the run."""
        self._last_words, self._last_remedy = error.words, error.remedy
        same = str(error) == self._refused
        self._refused, self._refused_in_a_row = str(error), self._refused_in_a_row + 1 if same else 1
        if self._refused_in_a_row < MAX_REFUSED_IN_A_ROW:
            # A model that is told so may be shorter; what the server refuses, it refuses again.
            return ReplyError(CUT) if str(error) == CUT else error
        return always_refused(self.base_url, self.model, error, self._refused_in_a_row)

    async def _attempt(self, session: _Session, request: Request, digest: str) -> Reply:
        """Call once and pay for it; every attempt has a reservation of its own, since a lost one is paid for too."""
        async with self._reserved(session, request):
            try:
                reply = await self._call(session, request)
            except TransientError as fault:
                if fault.billed:
                    self.keep("", request.task, self._counted(request, Reply("", failure=fault.reason)))
                raise
            if reply.failure == CUT:
                # Not kept: a later run, with the server set up in another way, has to ask again.
                self.keep("", request.task, self._counted(request, reply))
                raise cut_off()
            self._failed_in_a_row = self._refused_in_a_row = 0
            self._has_replied = True
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
                    answer = _error_answer(error, self.guard)
                    models = await self._models(session) if answer.status == 404 else ()
                    raise self._refusal(answer, models) from None
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
            reason = f"no answer within {self.config.timeout:g} s"
            raise TransientError(reason, remedy=CHECK_TIMEOUT, billed=True) from None
        except openai.APIConnectionError as error:
            raise self._unreachable(error) from None
        except openai.APIStatusError:
            raise
        except Exception as error:  # noqa: BLE001 - the transport's own errors are not part of openai's interface
            raise TransientError(f"the connection broke: {type(error).__name__}", billed=True) from None
        try:
            return parse_completion(bytes(content), self.guard)
        except ErrorReplyError as error:
            words = self.guard.words(error.words)
            if error.status:
                raise self._refusal(ErrorAnswer(error.status, words, error.words[:2000])) from None
            raise TransientError(str(error), words=words, billed=True, lasting=True) from None
        except ReplyError as error:
            raise TransientError(str(error), remedy=CHECK_ADDRESS, billed=True, lasting=True) from None

    def _unreachable(self, error: openai.APIConnectionError) -> Exception:
        """Make the error of a connection that was not made, or broke."""
        if insecure := _tls_fault(error):
            return NamerError(f"no secure connection to {self.base_url}{self._ways()}: {insecure}")
        billed = type(error.__cause__).__name__ != "ConnectError"  # else no request was sent
        return TransientError(f"cannot reach the server: {_cause(error)}", remedy=CHECK_REACHABLE, billed=billed)

    async def _models(self, session: _Session) -> tuple[str, ...]:
        """Return the names of the models that the server lists; empty where it does not."""
        try:
            page = await session.http.models.list(timeout=min(self.config.timeout, 10.0))
            found = [getattr(model, "id", None) for model in page.data]
        except Exception:  # noqa: BLE001 - it only makes a message better
            return ()
        return tuple(self.guard.words(name, longest=100) for name in found[:1000] if isinstance(name, str))

    def _fell_back(self, error: openai.APIStatusError, mode: StructuredOutput, limit_key: str) -> bool:
        """Change what the server does not know, and say whether asking again makes sense."""
        status, detail = error.status_code, _message(error.body)
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

    def _refusal(self, answer: ErrorAnswer, models: Collection[str] = ()) -> Exception:
        return refusal(
            answer,
            server=self.base_url,
            model=self.model,
            key_variable=self.config.key_variable,
            has_key=bool(self._key),
            models=models,
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


_WAYS = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


def _identifier(value: object) -> str:
    """Return an id or a status word of a server; raises NamerError where it is none."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.:-]{1,200}", value):
        return value
    raise NamerError("the server's answer about a batch holds no id or status that can be used")


def _message(body: object) -> str:
    """Find what a server says in the body of a refusal; openai hands the value of "error" on, or the whole."""
    if isinstance(body, dict):
        body = body.get("message", body.get("error", body.get("detail")))
    if isinstance(body, dict):
        body = body.get("message")
    return body if isinstance(body, str) and not body.lstrip().startswith("<") else ""


def _error_answer(error: openai.APIStatusError, guard: Guard) -> ErrorAnswer:
    """Take apart the answer behind a status that is not 200."""
    kind, body = error.response.headers.get("content-type", ""), error.body
    is_page = "text/html" in kind or (isinstance(body, str) and body.lstrip().startswith("<"))
    words = "" if is_page else guard.words(_message(body))
    codes = [str(body.get(name, ""))[:100] for name in ("code", "type")] if isinstance(body, dict) else []
    said = "" if is_page else " ".join([*codes, _message(body)[:2000]])
    return ErrorAnswer(error.status_code, words, said, retry_after(error.response.headers), is_page)


def _tls_fault(error: BaseException) -> str:
    """Say what is wrong with an encrypted connection, and what helps; empty where that is not the fault."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, ssl.SSLError):
        seen = seen.__cause__ or seen.__context__
    if isinstance(seen, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({seen.verify_message}). Set the environment variable SSL_CERT_FILE to "
            "the certificate of whoever signed it (a company's proxy signs), or put the host of llm.base_url right."
        )
    if isinstance(seen, ssl.SSLError) and seen.reason in _NOT_TLS:
        return "the server does not speak TLS there. Begin llm.base_url with http:// instead of https://."
    return ""


_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"})


def _cause(error: BaseException) -> str:
    """Say why there was no connection, in the words of this machine: the operating system's, never the server's."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            # asyncio puts a sentence of its own with the address in the place of the system's word
            return (
                os.strerror(seen.errno) if seen.errno is not None and seen.errno in errno.errorcode else seen.strerror
            )
        seen = seen.__cause__ or seen.__context__
    return type(error.__cause__ or error).__name__
