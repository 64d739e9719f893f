"""One request to a language model: what is asked, its digest, and its form on the wire.

Owns the digest by which replies are kept, the three ways of asking for structured output, and the counting of
tokens before a call. Must not know HTTP, keys or what the prompts mean.
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from PIL import Image

from precompute.atlas.digests import digest_bytes, digest_of
from precompute.errors import ConfigError

from .guard import holds_key

StructuredOutput = Literal["json_schema", "json_object", "prompt"]
STRUCTURED_OUTPUTS: tuple[StructuredOutput, ...] = ("json_schema", "json_object", "prompt")

DEFAULT_BASE_URL = "https://api.openai.com/v1"

CHARACTERS_PER_TOKEN = 3.5
"""Of English prose and JSON; on the low side, so that estimates are on the high side."""

_MEDIA_TYPES = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"RIFF", "image/webp"))


@dataclass(frozen=True)
class Request:
    """One question to a language model.

    Attributes
    ----------
    task : str
        ``naming``, ``scoring`` or ``explaining``; names the schema on the wire.
    system, user : str
    images : tuple of bytes
        Encoded pictures (JPEG, PNG or WebP), sent after the text.
    schema : mapping
        JSON schema of the reply.
    max_output_tokens : int
        The server stops there; hidden reasoning counts.
    """

    task: str
    system: str
    user: str
    images: tuple[bytes, ...] = ()
    schema: Mapping[str, Any] = field(default_factory=dict)
    max_output_tokens: int = 4096

    def digest(self, model: str, base_url: str, repeat: int = 0) -> str:
        """Compute the SHA-256 of everything that the reply depends on.

        `repeat` tells apart deliberate repetitions of the same request.
        """
        parts = {
            "format": 1,
            "model": model,
            "base_url": base_url,
            "asking": repeat,  # the word stays: another would ask, and pay, for every kept reply again
            "task": self.task,
            "system": self.system,
            "user": self.user,
            "images": [digest_bytes(image) for image in self.images],
            "schema": self.schema,
            "max_output_tokens": self.max_output_tokens,
        }
        return digest_of(parts)

    def body(
        self,
        model: str,
        mode: StructuredOutput,
        limit_key: str = "max_completion_tokens",
        *,
        spell_out: bool = False,
    ) -> dict[str, Any]:
        """Build the JSON body of a chat completion.

        Parameters
        ----------
        mode : {"json_schema", "json_object", "prompt"}
            How structured output is asked for; all but the first put the schema into the prompt.
        limit_key : str
            ``max_completion_tokens``, or ``max_tokens`` for servers that know only that.
        spell_out : bool
            Put the schema into the prompt in any case: for servers that take `json_schema` and ignore it.
        """
        body: dict[str, Any] = {
            "model": model,
            "messages": [
                {"role": "system", "content": self._system(spell_out or mode != "json_schema")},
                {"role": "user", "content": self._content()},
            ],
            limit_key: self.max_output_tokens,
        }
        if mode == "json_schema":
            schema = {"name": _wire_name(self.task), "strict": True, "schema": dict(self.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif mode == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    def input_tokens(self) -> int:
        """Estimate the input tokens, pictures included."""
        text = len(self.system) + len(self.user) + len(json.dumps(self.schema))
        return math.ceil(text / CHARACTERS_PER_TOKEN) + sum(image_tokens(image) for image in self.images)

    def _system(self, spell_out: bool) -> str:
        if not spell_out:
            return self.system
        schema = json.dumps(self.schema, ensure_ascii=False)
        return f"{self.system}\n\nReply with one JSON object and nothing else. It follows this JSON schema:\n{schema}"

    def _content(self) -> str | list[dict[str, Any]]:
        if not self.images:
            return self.user
        pictures = [{"type": "image_url", "image_url": {"url": data_url(image)}} for image in self.images]
        return [{"type": "text", "text": self.user}, *pictures]


def _wire_name(task: str) -> str:
    """Name a schema as the API allows: letters, digits, "-" and "_", at most 64."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", task)[:64]


def data_url(image: bytes) -> str:
    """Encode a picture as a data URL.

    Raises
    ------
    ValueError
        Neither JPEG, PNG nor WebP.
    """
    for magic, media_type in _MEDIA_TYPES:
        if image.startswith(magic):
            return f"data:{media_type};base64,{base64.b64encode(image).decode()}"
    raise ValueError("a picture for the language model has to be JPEG, PNG or WebP")


def image_tokens(image: bytes) -> int:
    """Estimate the tokens of a picture: the dearer of the two public ways of counting them.

    One counts 32 px patches (at most 1,536, times 1.62 for the small models), the other 512 px tiles (170 each and
    85 for the whole).
    """
    with Image.open(io.BytesIO(image)) as picture:
        width, height = picture.size
    patches = min(math.ceil(width / 32) * math.ceil(height / 32), 1536) * 1.62
    tiles = 85 + 170 * math.ceil(width / 512) * math.ceil(height / 512)
    return math.ceil(max(patches, tiles))


def checked_url(base_url: str) -> str:
    """Return the server's address, OpenAI's own where none is given.

    Raises
    ------
    ConfigError
        Not a web address, or one that holds a secret.
    """
    url = (base_url or DEFAULT_BASE_URL).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"llm.base_url has to be an http or https address such as {DEFAULT_BASE_URL!r}")
    if parts.path.endswith("/chat/completions"):
        raise ConfigError("llm.base_url has to be the part before /chat/completions: leave that out")
    if parts.username or parts.password or parts.query or parts.fragment or holds_key(url):
        raise ConfigError(
            "llm.base_url must not hold a user, password, query, fragment or key: it is written into the provenance"
        )
    return url


class LanguageModel(Protocol):
    """Anything that answers requests: a client of a server, or a stand-in that knows the truth.

    Attributes
    ----------
    model : str
        Name of the model, for the author of what it writes.
    concurrency : int
        Requests worth asking at the same time.
    """

    @property
    def model(self) -> str: ...  # noqa: D102

    @property
    def concurrency(self) -> int: ...  # noqa: D102

    async def answer(self, request: Request) -> str:
        """Return the text of the reply; raises ReplyError for this one, NamerError for all."""
        ...

    async def close(self) -> None:
        """Let go of connections; asking again opens them again."""
        ...


def is_json(text: str) -> bool:
    """Tell whether a text is JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
