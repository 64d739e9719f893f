"""A server that echoes the key in every disguise: no record, page, report, study, copy, log or terminal shows it."""

import logging
import re
from contextlib import redirect_stderr, redirect_stdout

import pikepdf
import pytest

from precompute.atlas.folder import read_names
from precompute.cli import main
from precompute.llm.guard import Guard
from tests.disguises import disguises_of
from tests.server import TestServer
from tests.server_answers import plausible_answer, task_of
from tests.small_atlas import make_small_atlas

pytestmark = pytest.mark.slow  # a minute and a half: every page is read in every way

KEY = "sk-Qw7Zt-Hv3kXj92LmPbYc5RnGd8Fs"
DISGUISES = disguises_of(KEY)
DIGEST = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{16}|[0-9a-f]{12}|[0-9a-f]{8})(?![0-9a-f])")
"""No disguise is as long: that of the key in hexadecimal has 62 letters."""


class Echo:
    """Names most concepts well, and puts the next disguise into every third of its answers, wherever text may stand."""

    def __init__(self):
        self.n_calls, self.n_echoed = 0, 0

    def __call__(self, body):
        answer = plausible_answer(body)
        self.n_calls += 1
        if self.n_calls % 3 or not isinstance(answer, dict):
            return answer
        text = list(DISGUISES.values())[self.n_echoed % len(DISGUISES)]
        self.n_echoed += 1
        keys = [key for key, value in answer.items() if isinstance(value, str)] if task_of(body) == "naming" else []
        return answer | ({keys[self.n_echoed % len(keys)]: text} if keys else {"reasoning": text, "own_words": text})


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """Run every command that writes; returns the folder, what was printed and logged, and the server's part."""
    folder, patch = tmp_path_factory.mktemp("echo"), pytest.MonkeyPatch()
    make_small_atlas(folder, n_per_class=4)
    patch.setenv("OPENAI_API_KEY", KEY)
    patch.chdir(folder)
    echo, log = Echo(), folder / "all.log"
    handler = logging.FileHandler(log)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.DEBUG)
    terminal = (folder / "terminal.txt").open("w")
    try:
        with TestServer(echo, key=KEY) as server, redirect_stdout(terminal), redirect_stderr(terminal):
            options = ["--config", "small.toml", "--set", "references.per_ranking=8", "--set", "llm.max_failed=1"]
            for setting in (f"base_url={server.base_url}", "model=test", "enabled=true", "max_retries=0"):
                options += ["--set", f"llm.{setting}"]
            assert main(["run", *options, "--site", "site"]) == 0
            for kind in ("explanation", "class", "audit", "model"):
                assert main(["report", kind, *options]) == 0
            assert main(["publish", "server", *options]) == 0
            assert main(["study", "make", *options]) == 0
            assert main(["names", "export", "names.csv", *options]) == 0
            server.script.extend(["401"] * 20)  # and one that is refused, with the key in its words
            server.error_text = f"bad key {DISGUISES['spaced']}"
            assert main(["name", *options, "--output", "small", "--set", "llm.model=other"]) == 1
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
        terminal.close()
        patch.undo()
    return folder, echo


def contents(folder):
    """Every file as text; of a PDF its text as handed to the typesetter."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.suffix == ".pdf":
            with pikepdf.open(path) as document:
                for name, attached in document.attachments.items():
                    yield f"{path}/{name}", attached.get_file().read_bytes().decode(errors="replace")
        else:
            yield str(path), path.read_bytes().decode(errors="replace")


def test_every_disguise_was_tried_and_most_concepts_have_names(left):
    folder, echo = left
    assert echo.n_echoed >= len(DISGUISES) >= 30
    assert sum(name.is_named for name in read_names(folder / "small/names.jsonl").values()) >= 10


def test_nothing_that_was_left_gives_the_key_away(left):
    guard = Guard(KEY)
    files = dict(contents(left[0]))
    parts = {name.removeprefix(f"{left[0]}/").split("/")[0] for name in files}
    assert {"small", "site", "reports", "publish", "study", "names.csv", "all.log", "terminal.txt"} <= parts
    assert any(".pdf/" in name for name in files)
    assert "atlas: " in next(text for name, text in files.items() if name.endswith("terminal.txt"))
    assert [name for name, text in files.items() if guard.gives_away(DIGEST.sub("", text))] == []


def test_a_leak_would_be_seen():
    guard = Guard(KEY)
    assert not guard.gives_away(DIGEST.sub("", "digest " + "0f" * 32))
    for text in DISGUISES.values():
        assert guard.gives_away(DIGEST.sub("", f"<p>{text}</p>"))
