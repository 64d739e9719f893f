"""Prompt files: front matter, a system part and a user part, read strictly.

Owns the format of ``prompts/**/*.md.j2``. A file starts with TOML between two lines of ``+++``: ``version`` (int) and
``variables`` (names that the text uses, all of them). The body is a Jinja template; a line ``=== user ===`` parts the
system message from the user message. Must not know tasks, models or what a reply means; its form is a model in code.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import jinja2
import jinja2.meta

from precompute.atlas.digests import digest_bytes
from precompute.errors import ConfigError

_ENVIRONMENT = jinja2.Environment(  # prompts are plain text, not pages: nothing is escaped
    undefined=jinja2.StrictUndefined, keep_trailing_newline=False, trim_blocks=True, lstrip_blocks=True
)
_KEYS = {"version", "variables"}
USER_LINE = "=== user ==="


@dataclass(frozen=True)
class Prompt:
    """One prompt file.

    Attributes
    ----------
    name : str
        Path below ``prompts/`` without the suffix, for example ``naming``.
    version : int
    variables : tuple of str
        What `render` needs.
    system_template, user_template : str
    digest : str
        SHA-256 of the file.
    """

    name: str
    version: int
    variables: tuple[str, ...]
    system_template: str
    user_template: str
    digest: str

    def render(self, **values: object) -> tuple[str, str]:
        """Fill in the variables; returns the system and the user message.

        Raises
        ------
        ConfigError
            A variable is missing or unknown.
        """
        if set(values) != set(self.variables):
            missing, unknown = set(self.variables) - set(values), set(values) - set(self.variables)
            raise ConfigError(
                f"prompt {self.name}: missing variables {sorted(missing)}, unknown variables {sorted(unknown)}; "
                f"it declares {list(self.variables)}"
            )
        system, user = (_compiled(text).render(values) for text in (self.system_template, self.user_template))
        return system.strip(), user.strip()


@functools.cache
def _compiled(text: str) -> jinja2.Template:
    """Compile a template once: an atlas fills in the same few thousands of times."""
    return _ENVIRONMENT.from_string(text)


def load_prompt(name: str, folder: Traversable | None = None) -> Prompt:
    """Read ``prompts/<name>.md.j2``.

    Raises
    ------
    ConfigError
        Missing, or not in the format; says what was found.
    """
    path = (folder or resources.files("prompts")).joinpath(*f"{name}.md.j2".split("/"))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the prompt {name} ({path}): {error}") from error
    head, body = _parts(name, text)
    system, separator, user = body.partition(f"\n{USER_LINE}\n")
    if not separator:
        raise ConfigError(f"prompt {name}: no line {USER_LINE!r} between the system and the user message")
    _check_variables(name, head, body)
    digest = digest_bytes(text.encode())
    return Prompt(name, head["version"], tuple(head["variables"]), system, user, digest)


def _parts(name: str, text: str) -> tuple[dict[str, Any], str]:
    start, front, body = [*text.split("+++\n", 2), "", ""][:3]
    try:
        head = tomllib.loads(front)
    except ValueError as error:
        raise ConfigError(f"prompt {name}: the front matter between '+++' lines is not right: {error}") from error
    if start or set(head) != _KEYS or not isinstance(head["version"], int) or not isinstance(head["variables"], list):
        raise ConfigError(f"prompt {name}: front matter has to hold exactly {sorted(_KEYS)}, found {sorted(head)}")
    return head, body


def _check_variables(name: str, head: dict[str, Any], body: str) -> None:
    try:
        used = jinja2.meta.find_undeclared_variables(_ENVIRONMENT.parse(body))
    except jinja2.TemplateSyntaxError as error:
        raise ConfigError(f"prompt {name}, line {error.lineno} of its body: {error.message}") from error
    if used != set(head["variables"]):
        raise ConfigError(f"prompt {name}: declares {sorted(head['variables'])}, its text uses {sorted(used)}")
