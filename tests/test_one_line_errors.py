"""Whatever happens, the command line ends in one line and the right exit code."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from precompute import cli
from precompute.cli import INTERNAL_ERROR, main
from precompute.errors import AtlasError

ROOT = Path(__file__).parents[1]


def run(*arguments, **environment):
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "precompute", *map(str, arguments)]
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "OMP_NUM_THREADS") if key in os.environ}
    kept |= {"PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, env=kept, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)


def failing(monkeypatch, error):
    def fail(arguments):
        raise error

    monkeypatch.setitem(cli._COMMANDS, "layers", (fail, "fail"))


ERRORS = [
    RuntimeError("unexpected\nover two lines\x1b[31m"),
    RecursionError("maximum recursion depth exceeded"),
    KeyError("\udcff\u202e"),
    UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"),
    OSError(5, "Input/output error"),
    AssertionError(),
    RuntimeError("x" * 10_000),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_of_the_program_ends_in_one_line_and_a_file(monkeypatch, capsys, tmp_path, error):
    failing(monkeypatch, error)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["layers"]) == INTERNAL_ERROR == 70
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.removesuffix("\n").isprintable()
    assert len(told) < 800
    assert type(error).__name__ in told
    (log,) = tmp_path.iterdir()
    assert str(log) in told
    assert "Traceback (most recent call last)" in log.read_text()
    assert "raise error" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_debug_shows_the_traceback_of_any_error(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for error, code in ((RuntimeError("oh"), INTERNAL_ERROR), (AtlasError("oh"), 1)):
        failing(monkeypatch, error)
        assert main(["layers", "--debug"]) == code
        told = capsys.readouterr().err
        assert "raise error" in told
        assert told.splitlines()[-1].startswith("atlas: ")


def test_without_room_for_a_log_it_is_said_how_to_see_more(monkeypatch, capsys, tmp_path):
    failing(monkeypatch, RuntimeError("oh"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    assert main(["layers"]) == INTERNAL_ERROR
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "--debug" in told


def test_a_message_cannot_do_more_than_be_read(monkeypatch, capsys):
    failing(monkeypatch, AtlasError("a file\n\x1b]0;title\x07\u202e\udcff named so"))
    assert main(["layers"]) == 1
    assert capsys.readouterr().err == "atlas: a file \\x1b]0;title\\x07\\u202e\\udcff named so\n"


def test_too_little_memory_is_told_with_what_helps(monkeypatch, capsys):
    failing(monkeypatch, MemoryError("Unable to allocate 9 GiB"))
    assert main(["layers"]) == 1
    assert "mining.batch_size" in capsys.readouterr().err


@pytest.mark.parametrize("epoch", ["-1", "", "soon", "1e9", "1_000", "١٢", " 5", "4294967296", "9" * 400])
def test_a_wrong_source_date_is_told_at_once(capsys, monkeypatch, epoch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    assert main(["layers"]) == 1
    told = capsys.readouterr().err
    assert "SOURCE_DATE_EPOCH" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("device", ["mps", "xpu", "hpu", "privateuseone", "cuda:-1", "CPU", "cpu:5", "", "cuda:1e3"])
def test_a_device_that_it_does_not_know_is_told(capsys, device):
    assert main(["run", "--set", f"relevance.device='{device}'", "--output", "/nonexistent/out"]) == 1
    told = capsys.readouterr().err
    assert "relevance.device" in told
    assert told.count("\n") == 1


def test_an_interruption_in_the_first_moments_ends_in_one_line():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = subprocess.run([sys.executable, "-c", ""], env=environment, check=True) and time.monotonic()
    subprocess.run([sys.executable, "-c", ""], env=environment, check=True)
    interpreter = time.monotonic() - started  # what lies before our first line is not ours
    for moment in (0.0, 0.05, 0.1, 0.2, 0.4):
        process = subprocess.Popen(
            [sys.executable, "-m", "precompute", "layers"],
            env=environment,
            cwd=ROOT,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        time.sleep(interpreter * 1.5 + moment)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=120)
        assert "Traceback" not in errors
        assert process.returncode == 1 or out, errors  # it may have ended before
        assert re.fullmatch(r"\s*(atlas: interrupted[^\n]*\n)?", errors)


def test_characters_that_the_terminal_lacks_do_not_end_a_run():
    for environment in ({"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}):
        done = run("layers", "--config", "–\u0308ü.toml", **environment)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert done.stderr.startswith("atlas: ")
        assert ".toml" in done.stderr
