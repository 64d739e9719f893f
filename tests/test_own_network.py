"""docs/your-own-network.md, followed line by line in a folder that knows nothing of this project."""

from __future__ import annotations

import contextlib
import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from precompute.cli import main
from precompute.config import load_config

GUIDE = (Path(__file__).parents[1] / "docs" / "your-own-network.md").read_text(encoding="utf-8")
BLOCKS = [(match[1], match[2]) for match in re.finditer(r"^```(\w+)\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)]


def blocks(kind: str) -> list[str]:
    return [text for found, text in BLOCKS if found == kind]


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """Make the files of the guide and run its commands in its order; returns the folder and what was printed."""
    folder = tmp_path_factory.mktemp("mine")
    network, example = blocks("python")
    for name, text in (("network.py", network), ("example.py", example), ("mine.toml", blocks("toml")[0])):
        (folder / name).write_text(text)
    commands = [line[2:] for text in blocks("console") for line in text.splitlines()]
    printed = {}
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        for command in commands:
            program, *arguments = shlex.split(command)
            out = folder / "out.txt"
            with out.open("w") as file, contextlib.redirect_stdout(file):
                if program == "python":
                    runpy.run_path(arguments[0])
                else:
                    assert program == "atlas"
                    assert main(arguments) == 0, out.read_text()
            printed[command] = out.read_text().replace("\u00a0", " ")
    sys.modules.pop("network", None)
    return folder, printed


def test_the_guide_runs_three_commands(followed):
    assert list(followed[1]) == [
        "python example.py", "atlas check --config mine.toml", "atlas run --config mine.toml",
    ]  # fmt: skip


def test_the_check_knows_the_network(followed):
    report = followed[1]["atlas check --config mine.toml"]
    assert "note  best.ckpt: the tensors under 'state_dict.model'" in report
    assert "3 classes with images: 80 of each" in report
    right = int(re.search(r"(\d+) of 200 right", report)[1])
    assert right > 180
    assert "mend " not in report


def test_the_run_explains_it(followed):
    folder, printed = followed
    assert re.search(r"Open file://\S+index\.html", printed["atlas run --config mine.toml"])
    explanations = [json.loads(path.read_text()) for path in sorted((folder / "mine" / "explanations").glob("*.json"))]
    assert len(explanations) == 6
    assert {explanation["label"] for explanation in explanations} == {"circle", "square", "triangle"}
    assert (folder / "site" / "mine" / "index.html").exists()


@pytest.mark.parametrize("text", blocks("toml"), ids=[f"block {number}" for number in range(len(blocks("toml")))])
def test_every_setting_that_the_guide_names_is_one(tmp_path, text):
    (tmp_path / "some.toml").write_text(text)
    load_config(tmp_path / "some.toml")


def test_the_settings_in_sentences_are_settings(tmp_path):
    inline = [found for found in re.findall(r"`(\w+ = .*?)`", GUIDE) if not found.startswith("arguments")]
    assert inline
    for line in inline:
        (tmp_path / "some.toml").write_text(f"[preprocessing]\n{line}\nmean = [0, 0, 0]\nstd = [1, 1, 1]\n")
        load_config(tmp_path / "some.toml")
