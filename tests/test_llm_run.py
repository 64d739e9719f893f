"""A language model from the command line to the pages, against servers that misbehave."""

import base64
import json
import shutil

import pytest

from precompute.atlas.folder import read_names
from precompute.cli import main
from tests.server import TestServer
from tests.server_answers import pictures, plausible_answer, task_of, texts
from tests.small_atlas import CONFIG, make_small_atlas

KEY = "sk-proj-NeverToBeSeenAnywhere0123456789"
CLASSES = ("red thing", "green & <b>bold</b>", "blue thing")


class Bench:
    """One small atlas and the commands run on it."""

    def __init__(self, folder, capfd):
        self.folder, self.capfd = folder, capfd
        self.config = folder / "small.toml"
        self.said = self.last = ""

    def run(self, command, server, *more, **settings):
        """Run one command; returns the exit code and keeps everything printed."""
        values = {"enabled": "true", "base_url": server.base_url, "model": "test", "timeout": "20", "max_retries": "3"}
        arguments = [command, *more, "--config", str(self.config), "--site", str(self.folder / "site")]
        for key, value in {**values, **settings}.items():
            arguments += ["--set", f"llm.{key}={value}"]
        code = main(arguments)
        captured = self.capfd.readouterr()
        self.last = captured.out + captured.err
        self.said += self.last
        return code

    @property
    def names(self):
        return read_names(self.folder / "small/names.jsonl")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small atlas whose words a model wrote, with everything that was sent and printed."""
    folder = tmp_path_factory.mktemp("run")
    make_small_atlas(folder, n_per_class=4, config=CONFIG.replace("[model]", '[model]\nlayers = ["6"]'))
    return folder


@pytest.fixture
def bench(finished, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.chdir(finished)
    if not (finished / "small/atlas.h5").exists():
        assert main(["mine", "--config", str(finished / "small.toml")]) == 0
        assert main(["references", "--config", str(finished / "small.toml")]) == 0
    shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    capfd.readouterr()
    return Bench(tmp_path / "copy", capfd)


def holds_no_key(bench):
    for path in bench.folder.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
    assert KEY not in bench.said


def test_everything_is_named_by_the_model_and_nothing_is_asked_twice(bench):
    with TestServer(plausible_answer, key=KEY) as server:
        assert bench.run("run", server) == 0, bench.last
        n_calls, bodies = server.n_calls, list(server.bodies)
        assert bench.run("run", server) == 0
        assert server.n_calls == n_calls, "the second run asked again"
    named = [name for name in bench.names.values() if name.is_named]
    assert len(named) > 6
    assert {name.author for name in named} == {"llm:test"}
    naming = [body for body in bodies if task_of(body) == "naming"]
    assert len(naming) >= len(named) + 1, "a test call, and every concept"
    for body in naming:
        places = [*map(str.encode, texts(body))]
        places += [base64.b64decode(url.partition(",")[2]) for url in pictures(body)]
        for words in (*CLASSES, "photos", "small_factory"):
            assert not any(words.encode() in place for place in places), words
    holds_no_key(bench)
    start = (bench.folder / "site/index.html").read_text(encoding="utf-8")
    assert "named by a language model (test)" in start


@pytest.mark.parametrize(
    ("fault", "words"),
    [("400", "this model takes no pictures"), ("500", "the projector file is missing"), ("length", "")],
)
def test_a_server_that_cannot_do_the_job_is_found_before_anything_is_mined(bench, fault, words):
    shutil.rmtree(bench.folder / "small")
    with TestServer(plausible_answer, script=[fault] * 50) as server:
        server.error_text = words or None
        assert bench.run("run", server, structured_output="json_schema") == 1
        assert words in bench.last
        assert "test call" in bench.last
        assert server.n_calls <= 4
    assert not (bench.folder / "small/atlas.h5").exists()


def test_a_model_that_does_not_see_is_told(bench):
    blind = {"name": "blue sky", "description": "Sky.", "kind": "scene", "common": "Sky.", "confidence": 0.9}
    with TestServer(lambda body: blind if task_of(body) == "naming" else plausible_answer(body)) as server:
        assert bench.run("run", server) == 0
    assert "did not name the red disc" in bench.said
    seeing = blind | {"name": "red disc", "description": "A red disc on grey."}
    with TestServer(lambda body: seeing if task_of(body) == "naming" else plausible_answer(body)) as server:
        shutil.rmtree(bench.folder / "small")
        bench.said = ""
        assert bench.run("run", server) == 0, bench.said + bench.last
    assert "did not name the red disc" not in bench.said


def test_a_run_in_which_too_much_fails_is_no_success_and_goes_on_once_that_is_wanted(bench):
    with TestServer(plausible_answer, rates={"wrong_schema": 0.9}) as server:
        assert bench.run("name", server) == 1
        assert "names failed, and llm.max_failed allows 0.2" in bench.last
        assert "does not follow the schema" in bench.last
        kept = dict(bench.names)
        assert any(not name.is_named for name in kept.values())
        n_calls = server.n_calls
        assert bench.run("name", server, max_failed="1") == 0
        assert server.n_calls == n_calls, "what was refused is not asked for again"
        assert bench.names == kept
        assert bench.run("site", server) == 0


def test_a_server_that_repeats_the_key_does_not_spread_it(bench, caplog):
    caplog.set_level(0)

    def echoing(body):
        return plausible_answer(body) | {"description": f"You sent Bearer {KEY} here."}

    with TestServer(echoing) as server:
        assert bench.run("name", server) == 1
        assert "the reply repeats the key" in bench.last
        server.script.extend(["401"] * 40)
        server.answer = plausible_answer
        assert bench.run("name", server, model="other") == 1
        assert "OPENAI_API_KEY" in bench.last
    assert "Traceback" not in bench.said + caplog.text
    assert KEY not in caplog.text
    assert bench.run("site", server) == 0
    holds_no_key(bench)


def test_batches_are_submitted_and_collected(bench):
    with TestServer(plausible_answer) as server:
        assert bench.run("name", server, "--batch") == 0
        assert "submitted" in bench.last
        assert bench.run("name", server, "--batch") == 0
        assert bench.last.count("collected") == 1
    assert sum(name.is_named for name in bench.names.values()) > 6


def test_a_dry_run_asks_nothing(bench, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with TestServer(plausible_answer) as server:
        assert bench.run("name", server, "--dry-run") == 0
        assert server.n_calls == 0
    assert json.dumps(bench.last).count("calls (") == 1
