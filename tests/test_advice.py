"""What messages tell people to do can be done: commands, options, settings, sections, targets and documents exist.

Every text of the program that is no docstring is looked at, so that a command or a key that is renamed takes its
messages with it. That the advice gets further is tried beside each message, in the tests of its stage.
"""

import argparse
import ast
import dataclasses
import re
import shlex
import tomllib
import typing
from pathlib import Path

import pytest

from precompute.cli import build_parser
from precompute.config import Config, load_config
from precompute.errors import AtlasError

ROOT = Path(__file__).parents[1]
HOLE = "\x00"
"""Stands where a message fills a value in."""
FOREIGN = {
    *("--mmproj", "--max-model-len", "--limit-mm-per-prompt"),  # servers of language models
    *("--status", "--exclude", "--dereference", "--hard-dereference", "--concatenate"),  # h5clear, tar
    "--head",  # ray start
}
"""Options of other programs."""


def texts():
    """Yield the place and the text of every string that is no docstring."""
    for path in sorted([*ROOT.glob("precompute/**/*.py"), *ROOT.glob("sitegen/**/*.py")]):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        skipped |= {id(value) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for value in node.values}
        for node in ast.walk(tree):
            place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else HOLE for part in node.values)
                yield place, "".join(parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
                yield place, node.value


TEXTS = list(texts())


def sections():
    """Return the tables of a config with the keys of each."""
    kinds = typing.get_type_hints(Config)
    found = {}
    for field in dataclasses.fields(Config):
        if dataclasses.is_dataclass(kind := kinds[field.name]):
            found[field.name] = {inner.name for inner in dataclasses.fields(kind)}
    return found


SECTIONS = sections()


def commands():
    parser = build_parser()
    return next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction)).choices


def found_in(pattern):
    """Return the place, the text and the match of all that match."""
    return [(place, text, match) for place, text in TEXTS for match in re.finditer(pattern, text)]


def test_commands_that_messages_name_can_be_given():
    found = found_in(r"`atlas ([^`]+)`")
    assert len(found) > 20
    for place, text, match in found:
        line = match[1].replace("…", "").replace("[", "").replace("]", "")
        words = shlex.split(line)
        if words == [HOLE]:  # filled in from the names of the commands
            continue
        command = commands().get(words[0])
        assert command is not None, (place, text)
        options = {option for action in command._actions for option in action.option_strings}
        assert {word for word in words if word.startswith("--")} <= options, (place, text)


def test_options_that_messages_name_exist():
    known = {
        option for command in commands().values() for action in command._actions for option in action.option_strings
    }
    found = [
        (place, match[1])
        for place, text, match in found_in(r"(?<![\w;-])(--[a-z][a-z-]+)\b(?!-)")
        if " " in text and "style" not in place
    ]
    assert len(found) > 30
    for place, option in found:
        assert option in known | FOREIGN, place


def test_settings_that_messages_name_exist():
    found = found_in(rf"\b({'|'.join(SECTIONS)})\.([a-z][a-z_0-9]*)\b(?!\()")
    keys = [(place, match) for place, text, match in found if " " in text]
    assert len({match[0] for _, match in keys}) > 40
    for place, match in keys:
        is_file = match[2] in {"h5", "json", "jsonl", "html", "md", "py", "toml", "csv"}
        assert is_file or match[2] in SECTIONS[match[1]], (place, match[0])


def test_sections_that_messages_name_exist():
    found = found_in(r"\[([a-z]+)\](?! *=)")
    named = [(place, match[1]) for place, text, match in found if re.search(r"\b(?:in|section) \[", text)]
    assert len(named) > 5
    assert {name for _, name in named} <= set(SECTIONS), named


@pytest.mark.parametrize("place", sorted({place for place, _, _ in found_in(r"\w\.\w+ ?= ?['\"\w]")}))
def test_values_that_messages_say_to_set_are_taken(place, tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("[dataset]\nroot = 'x'\n")
    for _, text, match in [
        found for found in found_in(rf"\b({'|'.join(SECTIONS)})\.(\w+) ?= ?([^ ,;)]+)") if found[0] == place
    ]:
        value = match[3].rstrip("`.").strip()
        if HOLE in value or value[0].isupper() or value in {"…", "==", "="}:
            continue
        try:
            load_config(path, [f"{match[1]}.{match[2]}={value.strip(chr(39))}"])
        except AtlasError as error:
            pytest.fail(f"{place}: {text}: {error}")


def test_documents_extras_and_targets_that_messages_name_exist():
    for place, _, match in found_in(r"\bdocs/[\w/-]+\.\w+"):
        assert (ROOT / match[0]).exists(), (place, match[0])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for place, _, match in found_in(r"concept-atlas\[(\w+)\]"):
        assert match[1] in project["optional-dependencies"], (place, match[0])
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for place, _, match in found_in(r"`make ([a-z-]+)"):
        assert match[1] in targets, (place, match[0])
