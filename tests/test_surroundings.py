"""Where the program runs: odd locales, masks, folders and disks. It works, or says in one line what is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from precompute.cli import main

from .small_atlas import make_small_atlas

ROOT = Path(__file__).parents[1]


def run(*arguments, cwd, prefix=(), **environment):
    kept = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    command = [*prefix, sys.executable, "-m", "precompute", *map(str, arguments)]
    return subprocess.run(command, env=kept, cwd=cwd, capture_output=True, text=True, check=False, timeout=600)


def told_in_one_line(done, *words):
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("atlas: "), done.stderr
    for word in words:
        assert word in line


@pytest.mark.slow
def test_a_c_locale_a_strict_mask_and_a_folder_with_spaces_and_umlauts(tmp_path):
    folder = tmp_path / "Größe & Maß (ñ) 'x'"
    folder.mkdir()
    make_small_atlas(folder, n_per_class=3)
    picture = next((folder / "photos").rglob("*.png"))
    picture.rename(picture.with_name("schöner Tag – 1.png"))
    prefix = ("sh", "-c", 'umask 077 && exec "$@"', "sh")
    done = run("run", "--config", "small.toml", "--site", "eine Seite", cwd=folder, prefix=prefix, LC_ALL="C")
    assert done.returncode == 0, done.stderr
    assert (folder / "eine Seite/index.html").exists()
    assert (folder / "small/atlas.h5").stat().st_mode & 0o077 == 0
    done = run("run", "--config", "small.toml", "--site", "eine Seite", cwd=folder, LC_ALL="C", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("kept") == 5


def mounting(commands):
    """Make the prefix that runs a program where something else is mounted; skips where that may not be done."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs root to mount a folder")
    return ("unshare", "-m", "sh", "-c", f'{commands} && exec "$@"', "sh")


def test_a_file_system_that_may_only_be_read(tmp_path):
    """Nor is a temporary folder needed: that of the first run is a file, that of the second is full."""
    make_small_atlas(tmp_path / "w", n_per_class=3)
    full, file = tmp_path / "full", tmp_path / "file"
    full.mkdir()
    file.write_text("")
    read_only = f'mount --bind "{tmp_path}/w" "{tmp_path}/w" && mount -o remount,ro,bind "{tmp_path}/w"'
    filled = f'mount -t tmpfs -o size=4k none "{full}" && ! head -c 8192 /dev/zero > "{full}/x" 2>/dev/null'
    command = ("mine", "--config", "w/small.toml")
    done = run(*command, cwd=tmp_path, prefix=mounting(read_only), TMPDIR=str(file))
    told_in_one_line(done, "Read-only file system", "--output")
    prefix = mounting(f"{read_only} && {filled}")
    done = run(*command, "--output", "elsewhere", cwd=tmp_path, prefix=prefix, TMPDIR=str(full))
    assert done.returncode == 0, done.stderr  # the advice followed
    assert (tmp_path / "elsewhere/atlas.h5").exists()


def test_a_disk_that_is_full_while_mining(tmp_path):
    make_small_atlas(tmp_path, n_per_class=3)
    (tmp_path / "small").mkdir()
    prefix = mounting(f'mount -t tmpfs -o size=8k none "{tmp_path}/small"')
    done = run("mine", "--config", "small.toml", cwd=tmp_path, prefix=prefix)
    told_in_one_line(done, "No space left on device")
    shutil.rmtree(tmp_path / "small")
    assert main(["mine", "--config", str(tmp_path / "small.toml")]) == 0


def test_what_torch_reads_while_it_is_loaded_is_set_before():
    code = (
        "import os, sys; from precompute.__main__ import ENVIRONMENT, prepare_environment; prepare_environment(); "
        "assert 'torch' not in sys.modules; print({name: os.environ[name] for name in ENVIRONMENT})"
    )
    for given, expected in (({}, "30000"), ({"GOMP_SPINCOUNT": "7"}, "7")):
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **given}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert f"'GOMP_SPINCOUNT': '{expected}'" in done.stdout
