"""The error tree: everything that a user can be told and act on.

Owns every exception class of the project and how a message names what is near to a word that is not known. Must know
nothing else::

    AtlasError                 base; the CLI prints it without a traceback and exits 1
    ├── ConfigError            a config file, key or value is wrong
    ├── DataError              images, labels or class lists are missing or unusable
    ├── ModelError             model, weights or layer cannot be used
    │   └── UnsupportedModel   the engine cannot treat the model correctly
    ├── StoreError             a stored file is missing, truncated, of another version or of another config
    ├── OutputError            no space, no permission: nothing could be written
    └── NamerError             the language model, its key, its cost limit or its server
        └── ReplyError         one reply could not be used; carries the reason
            └── NoReplyError   none came, so that there is nothing to put right by asking again

A message says what failed, where (file, layer, channel, sample, line), what was found against what was expected,
and what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping


class AtlasError(Exception):
    """Base of all errors that a user can act on."""


class ConfigError(AtlasError):
    """A config file, key or value is wrong."""


class DataError(AtlasError):
    """Images, labels or class lists are missing or unusable."""


class ModelError(AtlasError):
    """A model, its weights or one of its layers cannot be used."""


class UnsupportedModel(ModelError):  # noqa: N818 - reads as what it is: a kind of ModelError
    """The relevance engine cannot treat this model correctly, so it refuses."""


class StoreError(AtlasError):
    """A stored file is missing, truncated, of another version or of another config."""


class OutputError(AtlasError):
    """Nothing could be written: no space or no permission."""


class NamerError(AtlasError):
    """The language model, its key, its cost limit or its server."""


class ReplyError(NamerError):
    """One reply of a language model could not be used; the message is the reason."""


class NoReplyError(ReplyError):
    """One request got no reply at all: asking it again with the reason would make no difference."""


def did_you_mean(
    found: str, known: Collection[str], *, cutoff: float = 0.5, shown: Mapping[str, str] | None = None
) -> str:
    """Name the known word nearest to one that is not known, as the end of a message; empty where none is near.

    Parameters
    ----------
    found : str
    known : collection of str
    cutoff : float
        0 to 1: how near it has to be.
    shown : mapping of str to str, optional
        What to print in place of a known word.
    """
    nearest = difflib.get_close_matches(found, known, n=1, cutoff=cutoff)
    return f"; did you mean {(shown or {}).get(nearest[0], nearest[0])!r}?" if nearest else ""


def nearest_of(found: str, known: Collection[str], *, cutoff: float = 0.5, otherwise: str = "") -> str:
    """Name up to three known words near to one that is not known, as the end of a message.

    Parameters
    ----------
    found : str
    known : collection of str
    cutoff : float
        0 to 1: how near they have to be.
    otherwise : str
        What the known words are: where none is near, the first twenty are listed under it; empty says nothing.
    """
    nearest = difflib.get_close_matches(found, known, n=3, cutoff=cutoff)
    if nearest:
        return f"; the nearest: {', '.join(nearest)}"
    listed = [*list(known)[:20], *(["…"] if len(known) > 20 else [])]
    return f"; {otherwise}: {', '.join(listed) or 'none'}" if otherwise else ""
