"""What a server's refusal means: try again, give up this request, or end the run.

Owns the reading of statuses and their messages, and what helps against each. A fault's reason, which records and pages
may show, holds none of the server's words; they go to the terminal alone. Must not know openai, requests or files.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from precompute.errors import NamerError, NoReplyError, did_you_mean

from .reply import CUT

MAX_WAIT = 300.0
"""Seconds; a server that asks for a longer pause ends the run."""

CHECK_ADDRESS = (
    "Check that llm.base_url is the address of an OpenAI-compatible API (most end in /v1), and that no proxy or login "
    "page answers in its place"
)
CHECK_REACHABLE = "Start the server, or put llm.base_url right"
CHECK_TIMEOUT = "Raise llm.timeout, or lower llm.concurrency"
_CHECK_MODEL = "Set llm.model or llm.base_url to a server that takes pictures and requests of this length"
_WAIT = "Wait until the server is well again"

_RETRIED_STATUSES = frozenset({408, 409, 425, 429})
_FORMAT_STATUSES = frozenset({400, 422, 501})
_FORMAT_WORDS = ("response_format", "json_schema", "json_object", "structured", "grammar", "guided", "schema")
_MEANINGS = {
    429: " (too many requests)",
    502: " (a gateway in between got no answer)",
    503: " (not available)",
    504: " (a gateway in between got no answer in time)",
}

_NO_QUOTA = re.compile(r"insufficient_quota|billing_hard_limit|credit balance|out of credits", re.IGNORECASE)
_NO_MODEL = re.compile(
    r"model_not_found|\bmodel\b.{0,100}\b(?:not found|(?:does not|doesn't|not) exist|is unknown)"
    r"|\b(?:unknown|no such) model\b",
    re.IGNORECASE,
)
_FILTERED = re.compile(r"content[_ ](?:filter|policy|management policy)|safety system|moderation", re.IGNORECASE)
_TOO_LONG = re.compile(
    r"context[_ ](?:length|window|size)|(?:maximum|available|model's|the) context\b|too many (?:input )?tokens"
    r"|(?:prompt|input|request) is (?:too long|longer)|n_ctx|max_model_len",
    re.IGNORECASE,
)
_FEWER_PICTURES = re.compile(r"at most \d+ image|too many (?:images|pictures)|multiple images", re.IGNORECASE)
_NO_PICTURES = re.compile(r"image|picture|vision|multi-?modal|mmproj|projector|text only", re.IGNORECASE)


@dataclass(frozen=True)
class ErrorAnswer:
    """An answer of a server that holds no reply.

    Attributes
    ----------
    status : int
        Of HTTP, or what the body gives as one.
    words : str
        What the server said, harmless and without secrets.
    compared : str
        All that it said, as it came, with the API's word for it, such as ``context_length_exceeded``; never shown.
    wait : float or None
        Seconds that the server asks to wait.
    is_page : bool
        A web page: whatever answered, it is not the API.
    """

    status: int
    words: str = ""
    compared: str = ""
    wait: float | None = None
    is_page: bool = False

    def says(self, pattern: re.Pattern[str]) -> bool:
        """Tell whether what it said matches."""
        return bool(pattern.search(self.compared))


class TransientError(Exception):
    """A fault that may be gone next time.

    Attributes
    ----------
    reason : str
    words : str
        What the server said, for the terminal.
    remedy : str
        What helps where it stays: a sentence without its full stop.
    wait : float or None
        Seconds that the server asks to wait.
    billed : bool
        The server may have charged for the call.
    lasting : bool
        So far nothing says that it ever passes; tried again a few times only.
    """

    def __init__(
        self,
        reason: str,
        *,
        words: str = "",
        remedy: str = _WAIT,
        wait: float | None = None,
        billed: bool = False,
        lasting: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason, self.words, self.remedy = reason, words, remedy
        self.wait, self.billed, self.lasting = wait, billed, lasting


class RefusedError(NoReplyError):
    """The server answers, and will not do this request.

    Attributes
    ----------
    words : str
        What it said, for the terminal.
    remedy : str
        What helps: a sentence without its full stop.
    """

    def __init__(self, reason: str, words: str = "", remedy: str = _CHECK_MODEL) -> None:
        super().__init__(reason)
        self.words, self.remedy = words, remedy


def refusal(  # noqa: PLR0911 - one return for each kind of answer
    answer: ErrorAnswer, *, server: str, model: str, key_variable: str, has_key: bool, models: Collection[str] = ()
) -> Exception:
    """Make the error of an answer that holds no reply.

    Parameters
    ----------
    answer : ErrorAnswer
    has_key : bool
        A key was sent.
    models : collection of str
        Those that the server lists; empty where it was not asked or did not say.

    Returns
    -------
    TransientError, RefusedError or NoReplyError (this request alone) or NamerError (the run)
    """
    status = answer.status
    if ending := _way_or_account(answer, server, key_variable, has_key=has_key):
        return ending
    if status == 403:
        return _forbidden(answer, server, model, key_variable)
    if (status == 404 and not answer.is_page) or (status < 500 and answer.says(_NO_MODEL)):
        return _not_there(answer, server, model, models)
    if status == 404:
        return _no_such_address(answer, server)
    if status < 500 and answer.says(_FILTERED):
        # About these pictures, not about the server: others may pass, so that it never ends the run.
        return NoReplyError(f"the server's content filter refused the request ({status})")
    if refused := _refused_for_good(answer):
        return refused
    if status in _RETRIED_STATUSES or status >= 500:
        return _passing(answer, server)
    if answer.is_page:
        return RefusedError(f"a web page came instead of a reply ({status})", "", CHECK_ADDRESS)
    return RefusedError(f"the server refused the request ({status})", answer.words)


def _way_or_account(answer: ErrorAnswer, server: str, key_variable: str, *, has_key: bool) -> NamerError | None:
    """Make the error of an answer that comes before any model: where the way leads, who asks, and who pays."""
    status = answer.status
    said = f": {answer.words}" if answer.words else ""
    if 300 <= status < 400:
        return NamerError(
            f"the server at {server} sends requests on to another address ({status}). That is not followed, so that "
            "neither the key nor pictures go where they were not sent: set llm.base_url to the address itself."
        )
    if status == 402 or (status == 429 and answer.says(_NO_QUOTA)):
        return NamerError(
            f"the account at {server} has no quota left ({status}){said}. All replies so far are kept: fill it up, or "
            "set llm.base_url and llm.model to another server, then run the same command again."
        )
    if status == 407:
        return NamerError(
            f"a proxy between here and {server} asks for a password (407): put the one into the environment variable "
            "HTTPS_PROXY or HTTP_PROXY, or name the server in NO_PROXY."
        )
    if status == 401:
        found = f"refused the key ({status})" if has_key else f"wants a key ({status}), and none was sent"
        return NamerError(f"{server} {found}{said}. Check the environment variable {key_variable}.")
    return None


def _passing(answer: ErrorAnswer, server: str) -> Exception:
    """Make the error of a status that may be another one next time."""
    status, wait = answer.status, answer.wait
    if wait is not None and wait > MAX_WAIT:
        return NamerError(
            f"the server at {server} asks to wait {wait:.0f} s. All replies so far are kept: run the same command "
            "again later."
        )
    page = ", with a web page" if answer.is_page and not _MEANINGS.get(status) else ""
    reason = f"the server answered {status}{_MEANINGS.get(status, page)}"
    remedy = "Lower llm.concurrency, or wait" if status == 429 else _WAIT
    return TransientError(reason, words=answer.words, remedy=remedy, wait=wait, lasting=status == 500)


def _refused_for_good(answer: ErrorAnswer) -> RefusedError | None:
    """Make the error of a request that the server will never take, where it says so clearly."""
    status = answer.status
    if status in _RETRIED_STATUSES or status > 500:
        return None
    if answer.says(_TOO_LONG) or status == 413:
        return RefusedError(
            f"the request is longer than the server takes ({status})",
            answer.words,
            "Start the server with a context of at least 8192 tokens (llama.cpp: -c, Ollama: OLLAMA_CONTEXT_LENGTH, "
            "vLLM: --max-model-len), set llm.model to one with more, or lower references.per_ranking",
        )
    if answer.says(_FEWER_PICTURES):
        return RefusedError(
            f"the server takes fewer pictures in one request ({status})",
            answer.words,
            "Let the server take more pictures in one request (vLLM: --limit-mm-per-prompt)",
        )
    if answer.says(_NO_PICTURES):
        return RefusedError(
            f"the server does not take the pictures ({status})",
            answer.words,
            "Set llm.model to one that takes pictures (llama.cpp: start it with its --mmproj file)",
        )
    return None


def _forbidden(answer: ErrorAnswer, server: str, model: str, key_variable: str) -> NamerError:
    if answer.is_page:
        return NamerError(
            f"a web page came from {server} instead of a reply (403): a proxy or firewall forbids the way there. Name "
            "the server in the environment variable NO_PROXY, or ask who runs the network."
        )
    said = f": {answer.words}" if answer.words else ""
    return NamerError(
        f"{server} refused the key for the model {model!r} (403){said}. Check the environment variable {key_variable} "
        "and what its key may use, or set llm.model to another."
    )


def _not_there(answer: ErrorAnswer, server: str, model: str, models: Collection[str]) -> NamerError:
    """Tell a model that is not there from an address that is not: by the server's list, else by its words."""
    said = f": {answer.words}" if answer.words else ""
    if model not in models and (models or answer.says(_NO_MODEL)):
        few = ", ".join(sorted(models)[:5]) + (", …" if len(models) > 5 else "")
        known = did_you_mean(model, models) or (f"; it has {few}" if models else "")
        return NamerError(
            f"{server} has no model {model!r} ({answer.status}){known or said}. Set llm.model to one of its."
        )
    return _no_such_address(answer, server)


def _no_such_address(answer: ErrorAnswer, server: str) -> NamerError:
    said = f": {answer.words}" if answer.words else ""
    guess = "" if server.rstrip("/").endswith("/v1") else f" (perhaps {server}/v1)"
    return NamerError(
        f"there is no {server}/chat/completions ({answer.status}){said}. Set llm.base_url to the part before "
        f"/chat/completions{guess}."
    )


def server_gone(server: str, fault: TransientError, ways: str = "") -> NamerError:
    """Make the error of a server that answers nobody; `ways` says what of the environment the calls went through."""
    said = f": {fault.words}" if fault.words else ""
    return NamerError(
        f"the server at {server} does not answer ({fault.reason}{said}){ways}. All replies so far are kept. "
        f"{fault.remedy}, then run the same command again."
    )


def always_refused(server: str, model: str, error: RefusedError, n: int) -> NamerError:
    """Make the error of a server that answers every request with the same refusal."""
    said = f". It says: {error.words}" if error.words else ""
    return NamerError(
        f"{model} at {server} cannot do this: {n} requests in a row without a usable reply ({error}){said}. Nothing "
        f"more was asked, and all replies so far are kept. {error.remedy}, then run the same command again."
    )


def cut_off() -> RefusedError:
    """Make the error of a reply that was cut off at the limit of output tokens."""
    return RefusedError(
        CUT,
        remedy="If the model thinks before it replies, turn that off at the server, or set llm.model to one that does "
        "not",
    )


def lacks_parameter(status: int, detail: str, parameter: str) -> bool:
    """Tell whether a refusal says that the server does not know a parameter."""
    return status in _FORMAT_STATUSES and parameter in detail.lower()


def may_lack_format(status: int, detail: str, *, format_worked: bool) -> bool:
    """Tell whether a refusal may be about the way of structured output.

    Not every server says so: as long as a way has not worked yet, any complaint about the request may mean it.
    """
    if status not in _FORMAT_STATUSES:
        return False
    return not format_worked or any(word in detail.lower() for word in _FORMAT_WORDS)
