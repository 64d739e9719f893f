"""The error tree: everything that a user can be told and act on.

Owns every exception class of the project and must know nothing else::

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
