"""What is installed elsewhere holds everything: an editable install hides files that a wheel forgets."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from precompute.atlas.hdf5 import read_atlas
from precompute.errors import ConfigError
from precompute.examples import copy_example, example_names

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
SMALL = (
    "dataset.n_samples=12", "references.per_ranking=1", "explaining.n_photos=1", "model.layers=['features.28']",
)  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy of the sources, so that nothing is left beside them."""
    sources = tmp_path_factory.mktemp("sources")
    for name in ("precompute", "sitegen", "prompts", "data"):
        kept = shutil.ignore_patterns("__pycache__", *([] if name != "data" else [p.name for p in folders_of("data")]))
        shutil.copytree(ROOT / name, sources / name, symlinks=True, ignore=kept)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    made = tmp_path_factory.mktemp("wheel")
    build = [*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(made), str(sources)]
    subprocess.run(build, check=True)
    (path,) = made.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    target = tmp_path_factory.mktemp("installed")
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)], check=True)
    return target


def folders_of(name):
    return [path for path in (ROOT / name).iterdir() if path.is_dir()]


def atlas(installed, folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    environment["TMPDIR"] = str(folder / "missing")  # no temporary folder is needed
    command = [sys.executable, "-m", "precompute.cli", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_wheel_holds_every_file_of_the_packages(wheel):
    packed = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in ("precompute", "sitegen", "prompts")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected - packed == set()


def test_an_installed_program_makes_the_default_atlas_in_another_folder(installed, tmp_path):
    overrides = [part for value in SMALL for part in ("--set", value)]
    run = atlas(installed, tmp_path, "run", *overrides)
    assert run.returncode == 0, run.stderr
    assert read_atlas(tmp_path / "data/world/atlas.h5").samples.name
    assert (tmp_path / "site/world/index.html").exists()
    assert (tmp_path / "data/world.toml").read_bytes() == (ROOT / "data/world.toml").read_bytes()
    code = "import precompute, sitegen, prompts; print(precompute.__file__, sitegen.__file__, prompts.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, check=True
    )
    assert all(Path(path).is_relative_to(installed) for path in found.stdout.decode().split())


def test_every_shipped_config_comes_with_the_program():
    assert example_names() == sorted(path.stem for path in (ROOT / "data").glob("*.toml"))


@pytest.mark.parametrize("name", example_names())
def test_a_copied_config_is_the_shipped_one(tmp_path, name):
    made = copy_example(name, tmp_path)
    assert made[0] == tmp_path / f"{name}.toml"
    assert all(path.read_bytes() == (ROOT / "data" / path.name).read_bytes() for path in made)
    assert copy_example(name, tmp_path) == []


def test_a_file_of_the_users_own_is_never_replaced(tmp_path):
    (tmp_path / "world.toml").write_text("mine")
    with pytest.raises(ConfigError, match="holds something else"):
        copy_example("world", tmp_path)
    assert (tmp_path / "world.toml").read_text() == "mine"


def test_an_unknown_config_is_told_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="the nearest: world"):
        copy_example("wrld", tmp_path)


def test_the_advice_for_a_missing_config_helps(tmp_path, monkeypatch, capsys):
    from precompute.cli import main

    monkeypatch.chdir(tmp_path)
    assert main(["layers"]) == 1
    assert "`atlas init`" in capsys.readouterr().err
    assert main(["init"]) == 0
    assert main(["layers"]) == 0
    assert main(["init", "list"]) == 0
    assert "imagenet-vgg16" in capsys.readouterr().out
