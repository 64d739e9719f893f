"""What a server answered, taken apart: the text of the reply and its cost, or the reason why there is none.

Owns the reading of a chat completion's body: here a server's text is made harmless, once, and its numbers get ranges.
Must not know HTTP, files or what a reply means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from precompute.errors import NamerError, ReplyError

from .guard import Guard
from .text import harmless

MAX_TOKENS = 2_000_000
"""Of one request or reply: more than any model takes. A larger count is not believed."""
MAX_CHARACTERS = 32_768
"""Of one reply; a model that loops is cut off there."""
CUT = "the reply was cut off at the limit of output tokens"
"""The failure of a reply that asking again would not mend, and that another setting of the server would."""

_FENCE = re.compile(r"\A```[A-Za-z]*\s*\n(.*?)\n?```\Z", re.DOTALL)
_THINKING = re.compile(r"\A<think>.*?</think>\s*", re.DOTALL)


@dataclass(frozen=True)
class Reply:
    """A complete answer of the server, as it is kept in the journal.

    Attributes
    ----------
    text : str
        What the model wrote, without a code fence around it; empty where `failure` is set.
    input_tokens, output_tokens : int
        As the server counted them; -1 where it did not say, or said what cannot be.
    failure : str
        Why this answer cannot be used although it is complete: refused, cut at the limit, too long.
    batch : bool
        Came through the batch API, at half the price.
    """

    text: str
    input_tokens: int = -1
    output_tokens: int = -1
    failure: str = ""
    batch: bool = False


class ErrorReplyError(ReplyError):
    """The body of an answer of status 200 holds an error.

    Attributes
    ----------
    words : str
        What it says, as it came.
    status : int
        Of HTTP, where the body gives one; 0 where not.
    """

    def __init__(self, error: object) -> None:
        super().__init__("the server answered with an error instead of a chat completion")
        found = error if isinstance(error, dict) else {"message": error}
        words, code = found.get("message"), found.get("code")
        self.words = words if isinstance(words, str) else ""
        self.status = code if type(code) is int and 400 <= code < 600 else 0


def require_sendable(secret: str, variable: str) -> None:
    """Refuse a key that no header can carry, without showing it."""
    if not (secret.isascii() and secret.isprintable()):
        raise NamerError(
            f"the key in the environment variable {variable} holds a line break or a character that no key has. "
            "Copy it again."
        )


def parse_completion(body: bytes, guard: Guard, *, batch: bool = False) -> Reply:
    """Read the body of a chat completion.

    Raises
    ------
    ReplyError
        It is empty, a web page, not JSON, cut off, or not a chat completion.
    ErrorReplyError
        It is an error under a status that says that all is well.
    """
    document = _document(body)
    if document.get("error") and not document.get("choices"):
        raise ErrorReplyError(document["error"])
    if document.get("choices") == []:
        raise ReplyError("the server answered with a chat completion without a choice")
    try:
        choice = document["choices"][0]
        message = choice["message"]
        content, refusal = message.get("content"), message.get("refusal")
        finish = choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ReplyError("the server answered with JSON that is not a chat completion") from None
    n_input, n_output = _usage(document.get("usage"))
    failure = _failure(content, refusal, finish)
    if not failure and guard.gives_away(content):
        failure = "the reply repeats the key; nothing of it was kept"
    text = "" if failure else unfenced(harmless(content))
    return Reply(text, n_input, n_output, failure or _empty(text), batch)


def unfenced(text: str) -> str:
    """Take away what servers without structured output put around JSON: a code fence, visible thinking."""
    text = _THINKING.sub("", text.strip())
    match = _FENCE.match(text)
    return match.group(1).strip() if match else text


def _document(body: bytes) -> dict[str, Any]:
    if not body.strip():
        raise ReplyError("the server answered with an empty body")
    start = body.lstrip()[:64].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise ReplyError("the server answered with a web page (HTML) instead of JSON")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise ReplyError("the server's answer is not valid JSON, or was cut off") from None
    if not isinstance(document, dict):
        raise ReplyError("the server answered with JSON that is not a chat completion")
    return document


def _failure(content: object, refusal: object, finish: object) -> str:
    if refusal:
        return "the model refused"
    if finish == "content_filter":
        return "the server's content filter withheld the reply"
    if finish == "length":
        return CUT
    if not isinstance(content, str):
        return _empty("")
    if len(content) > MAX_CHARACTERS:
        return f"the reply is longer than {MAX_CHARACTERS // 1024} kB"
    return ""


def _empty(text: str) -> str:
    return "" if text.strip() else "the reply is empty"


def _usage(usage: object) -> tuple[int, int]:
    if not isinstance(usage, dict):
        return -1, -1
    counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    n_input, n_output = (n if type(n) is int and 0 <= n <= MAX_TOKENS else -1 for n in counts)
    return n_input, n_output


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks to wait: milliseconds, seconds or a date."""
    if re.fullmatch(r"\d+(\.\d+)?", milliseconds := headers.get("retry-after-ms", "")):
        return float(milliseconds) / 1000
    value = headers.get("retry-after", "")
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    try:
        until = parsedate_to_datetime(value)
        now = parsedate_to_datetime(headers["date"])
        return max((until - now).total_seconds(), 0.0)
    except (TypeError, ValueError, KeyError, OverflowError):
        return None
