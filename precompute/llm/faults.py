"""What a server's refusal means: try again, give up this request, or end the run.

Owns the reading of statuses and their messages. Must not know openai, requests or files.
"""

from __future__ import annotations

from precompute.errors import NamerError, NoReplyError

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
    wait : float or None
        Seconds that the server asks to wait.
    billed : bool
        The server may have charged for the call.
    """

    def __init__(self, reason: str, *, wait: float | None = None, billed: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.wait, self.billed = reason, wait, billed


def refusal(status: int, detail: str, wait: float | None, *, server: str, model: str, key_variable: str) -> Exception:
    """Make the error of a status that is not 200.

    Parameters
    ----------
    detail : str
        What the server said, without secrets.
    wait : float or None
        Seconds that it asks to wait.

    Returns
    -------
    TransientError, NoReplyError (this request alone) or NamerError (the run)
    """
    detail = detail[:300]
    if status == 429 and "insufficient_quota" in detail:
        return NamerError(f"the account at {server} has no quota left: {detail}")
    if status in _RETRIED_STATUSES or status >= 500:
        if wait is not None and wait > MAX_WAIT:
            return NamerError(
                f"the server at {server} asks to wait {wait:.0f} s. All replies so far are kept: run the same command "
                "again later."
            )
        return TransientError(f"the server answered {status}: {detail}", wait=wait)
    if status in {401, 403}:
        return NamerError(f"{server} refused the key ({status}). Check the environment variable {key_variable}.")
    if status == 404:
        return NamerError(
            f"{server} does not know the model {model!r} or the address (404): {detail}. "
            "Check llm.model and llm.base_url."
        )
    return NoReplyError(f"the server refused the request ({status}): {detail}")


def server_gone(server: str, reason: str) -> NamerError:
    """Make the error of a server that answers nobody."""
    return NamerError(
        f"the server at {server} does not answer ({reason}). All replies so far are kept: run the same command again "
        "when it does."
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
