"""A data set's folder is kept apart from what is made, before anything is written."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from precompute.cli import main
from tests.photo_files import fill
from tests.small_atlas import make_small_atlas

ROOT = Path(__file__).parents[1]


def write(folder, root):
    fill(folder / "data/plants", ["moss/0.png", "moss/1.png", "fern/0.png"])
    (folder / "data/plants.toml").write_text(
        f'[dataset]\nroot = "{root}"\n[preprocessing]\nresize = 32\ncrop = 32\n'
        '[model]\nfactory = "tests.nets:tiny_chain"\nweights = "random"\n[mining]\nn_workers = 0\n'
    )
    return ["--config", str(folder / "data/plants.toml")]


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("root", "arguments", "relation"),
    [
        ("plants", [], "is the output folder"),
        (".", [], "holds the output folder"),
        ("..", [], "holds the output folder"),
        ("plants", ["--output", "data/plants/out"], "holds the output folder"),
        ("plants", ["--output", "data"], "lies in the output folder"),
        ("linked", ["--output", "data/plants"], "is the output folder"),
        ("plants", ["--output", "data/linked"], "is the output folder"),
        ("plants", ["--output", "out", "--site", "data/plants"], "is the site's folder"),
        ("plants", ["--output", "out", "--site", "data/plants/site"], "holds the site's folder"),
        ("plants", ["--output", "out", "--site", "data"], "lies in the site's folder"),
        ("plants/moss/0.png", ["--output", "data/plants"], "lies in the output folder"),
    ],
)
@pytest.mark.parametrize("command", ["run", "mine", "site"])
def test_a_data_set_that_overlaps_is_refused_and_nothing_is_written(
    tmp_path, capsys, monkeypatch, root, arguments, relation, command
):
    config = write(tmp_path, root)
    (tmp_path / "data/linked").symlink_to("plants")
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    assert main([command, *config, *arguments]) == 1
    told = capsys.readouterr().err
    assert relation in told
    assert told.count("\n") == 1
    assert contents(tmp_path) == before


def test_the_advice_gets_further(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    config = write(tmp_path, "plants")
    assert main(["mine", *config]) == 1
    advice = capsys.readouterr().err.partition("with `")[2].partition("`")[0]
    before = contents(tmp_path / "data/plants")
    assert main(["mine", *config, *shlex.split(advice), "--set", "model.factory=torchvision:none"]) == 1
    assert "torchvision" in capsys.readouterr().err  # another thing is wrong now
    assert contents(tmp_path / "data/plants") == before


@pytest.mark.parametrize("name", ["My Drive", "it's here", 'a "quoted" place', "a;b & c", "ä (1)"])
def test_make_quotes_the_config(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "mine.toml").write_text("")
    for target in ("atlas", "layers", "serve"):
        made = subprocess.run(
            ["make", "-n", "-o", ".venv/ready", target, f"CONFIG={folder / 'mine.toml'}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "MAKEFLAGS": ""},
        )
        assert str(folder / "mine.toml") in shlex.split(made.stdout)


def test_what_the_program_made_is_never_taken_for_images(tmp_path, capsys, monkeypatch):
    """An output that came into the data set some other way, or by a link, is refused by its mark."""
    monkeypatch.chdir(tmp_path)
    config = make_small_atlas(tmp_path, n_per_class=2)
    assert main(["run", "--config", str(config), "--output", "made", "--site", "site"]) == 0
    for made in ("made", "site"):
        link = tmp_path / "photos" / "red thing" / "old"
        link.symlink_to(tmp_path / made)
        capsys.readouterr()
        wanted = ["--set", "dataset.follow_links=true"]
        assert main(["mine", "--config", str(config), "--output", "other", *wanted]) == 1
        assert "an atlas or a site of this program" in capsys.readouterr().err
        assert main(["explain", "--config", str(config), "--output", "made", made]) == 1
        link.unlink()
    assert not (tmp_path / "other").exists()
    assert main(["mine", "--config", str(config), "--output", "other"]) == 0
