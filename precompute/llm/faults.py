"""What a server's refusal means: try again, give up this request, or end the run.

Owns the reading of statuses and their messages. A fault's reason, which records and pages may show, holds none of the
server's words; they go to the terminal alone. Must not know openai, requests or files.
"""

from __future__ import annotations

from precompute.errors import NamerError, NoReplyError

from .reply import CUT

MAX_WAIT = 300.0
"""Seconds; a server that asks for a longer pause ends the run."""

_RETRIED_STATUSES = frozenset({408, 409, 425, 429})
_FORMAT_STATUSES = frozenset({400, 422, 501})
_FORMAT_WORDS = ("response_format", "json_schema", "json_object", "structured", "grammar", "guided", "schema")


class TransientError(Exception):
    """A fault that may be gone next time.

    Attributes
    ----------
    reason : str
    words : str
        What the server said, for the terminal.
    wait : float or None
        Seconds that the server asks to wait.
    billed : bool
        The server may have charged for the call.
    lasting : bool
        So far nothing says that it ever passes; tried again a few times only.
    """

    def __init__(
        self, reason: str, *, words: str = "", wait: float | None = None, billed: bool = False, lasting: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason, self.words, self.wait, self.billed, self.lasting = reason, words, wait, billed, lasting


class RefusedError(NoReplyError):
    """The server answers, and will not do this request; `words` is what it said, for the terminal."""

    def __init__(self, reason: str, words: str = "") -> None:
        super().__init__(reason)
        self.words = words


def refusal(  # noqa: PLR0911 - one return for each kind of status
    status: int, detail: str, wait: float | None, *, server: str, model: str, key_variable: str
) -> Exception:
    """Make the error of a status that is not 200.

    Parameters
    ----------
    detail : str
        What the server said, harmless and without secrets.
    wait : float or None
        Seconds that it asks to wait.

    Returns
    -------
    TransientError, RefusedError (this request alone) or NamerError (the run)
    """
    said = f": {detail}" if detail else ""
    if 300 <= status < 400:
        return NamerError(
            f"the server at {server} sends requests on to another address ({status}). That is not followed, so that "
            "neither the key nor pictures go where they were not sent: set llm.base_url to the address itself."
        )
    if status == 429 and "insufficient_quota" in detail:
        return NamerError(f"the account at {server} has no quota left{said}")
    if status in _RETRIED_STATUSES or status >= 500:
        if wait is not None and wait > MAX_WAIT:
            return NamerError(
                f"the server at {server} asks to wait {wait:.0f} s. All replies so far are kept: run the same command "
                "again later."
            )
        return TransientError(f"the server answered {status}", words=detail, wait=wait, lasting=status == 500)
    if status in {401, 403}:
        return NamerError(f"{server} refused the key ({status}). Check the environment variable {key_variable}.")
    if status == 404:
        return NamerError(
            f"{server} does not know the model {model!r} or the address (404){said}. Check llm.model and llm.base_url."
        )
    return RefusedError(f"the server refused the request ({status})", detail)


def server_gone(server: str, reason: str, words: str = "", ways: str = "") -> NamerError:
    """Make the error of a server that answers nobody; `ways` says what of the environment the calls went through."""
    said = f": {words}" if words else ""
    return NamerError(
        f"the server at {server} does not answer ({reason}{said}){ways}. All replies so far are kept: run the same "
        "command again when it does."
    )


def always_refused(server: str, model: str, error: RefusedError, n: int) -> NamerError:
    """Make the error of a server that answers every request with the same refusal."""
    said = f". It says: {error.words}" if error.words else ""
    hint = (
        "If the model thinks before it replies, turn that off at the server, or set llm.model to one that does not"
        if str(error) == CUT
        else "Set llm.model or llm.base_url to a server that takes pictures and requests of this length"
    )
    return NamerError(
        f"{model} at {server} cannot do this: {n} requests in a row without a usable reply ({error}){said}. Nothing "
        f"more was asked, and all replies so far are kept. {hint}, then run the same command again."
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
