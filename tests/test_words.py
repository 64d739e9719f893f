"""Words by a language model, from the command line to the finished pages, against a server that misbehaves."""

import base64
import gc
import json
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from benchmarks.narrative_numbers import check
from precompute.atlas.json_records import read_json, read_jsonl
from precompute.atlas.records import ConceptName, ConceptScore, Explanation
from precompute.cli import main
from tests.server import TestServer
from tests.server_answers import pictures, plausible_answer, sha256, task_of, texts
from tests.small_atlas import make_small_atlas

KEY = "sk-proj-NeverToBeSeenAnywhere0123456789"
CLASSES = ("red thing", "green & <b>bold</b>", "blue thing")
LAYERS = ("quokka_stem", "wombat_stage", "numbat_head")
FACTORY = """
from collections import OrderedDict
from torch import nn

def small_network():
    return nn.Sequential(OrderedDict([
        ("quokka_stem", nn.Conv2d(3, 6, 3, padding=1)), ("a", nn.ReLU()), ("b", nn.MaxPool2d(2)),
        ("wombat_stage", nn.Conv2d(6, 6, 3, padding=1)), ("c", nn.ReLU()), ("d", nn.MaxPool2d(2)),
        ("numbat_head", nn.Conv2d(6, 8, 3, padding=1)), ("e", nn.ReLU()), ("f", nn.AdaptiveAvgPool2d(2)),
        ("g", nn.Flatten()), ("h", nn.Linear(32, 3)),
    ]))
"""
N_CONCEPTS = 20
FAULTS = (
    "429",
    "500",
    "invalid_json",
    "truncated_json",
    "wrong_schema",
    "refusal",
    "wrong_ids",
    "wrong_numbers",
    "html",
)


def answer(body):
    """Answer every task as an obedient model would; a narrative tells every share and every coverage of its table."""
    if task_of(body) in ("naming", "scoring"):
        return plausible_answer(body)
    asked = texts(body)[-1]
    concepts = dict.fromkeys(re.findall(r"\{share:(C\d+)\}", asked))
    layers = dict.fromkeys(re.findall(r"\{coverage:(L\d+)\}", asked))
    said = [("uncertainty", "The class {class} has the probability {probability}.", [])]
    said += [("observation", f"{{name:{c}}} has the share {{share:{c}}}.", [c]) for c in concepts]
    said += [("coverage", f"The concepts told carry {{coverage:{layer}}} of the relevance.", []) for layer in layers]
    statements = [{"kind": kind, "text": text, "cites": cites} for kind, text, cites in said]
    return {"language": "en", "statements": statements}


def lying(body):
    """Answer as `answer`, but narratives with a wrong id or a typed number, on every other asking."""
    said = answer(body)
    if task_of(body) not in ("naming", "scoring"):
        fault = int(sha256(body["messages"])[:4], 16) % 3
        if fault == 0:
            said["statements"][0]["text"] = "The class {class} has the probability 97.3 %."
        elif fault == 1:
            said["statements"].append({"kind": "observation", "text": "{name:C77} is there.", "cites": ["C77"]})
    return said


class Bench:
    """One small atlas, a server's address and the commands run on them."""

    def __init__(self, folder, capfd):
        self.folder, self.capfd = folder, capfd
        self.config = make_small_atlas(folder, n_per_class=6)
        (folder / "small_factory.py").write_text(FACTORY)
        self.said = ""

    def run(self, command, server, *more, settings=()):
        """Run one command; returns the exit code and keeps everything printed."""
        values = {
            "enabled": "true", "base_url": server.base_url, "model": "test", "timeout": "10", "max_retries": "8",
            "concurrency": "8", **dict(settings),
        }  # fmt: skip
        arguments = [command, *map(str, more), "--config", str(self.config)]
        arguments += ["--site", str(self.folder / "site")]
        for key, value in values.items():
            arguments += ["--set", f"llm.{key}={value}"]
        code = main(arguments)
        captured = self.capfd.readouterr()
        self.said += captured.out + captured.err
        self.last = captured.out + captured.err
        return code

    @property
    def out(self):
        return self.folder / "small"

    def names(self):
        return read_jsonl(self.out / "names.jsonl", ConceptName)

    def scores(self):
        return read_jsonl(self.out / "scores.jsonl", ConceptScore)

    def narratives(self):
        explanations = [read_json(path, Explanation) for path in sorted((self.out / "explanations").glob("*.json"))]
        return [narrative for e in explanations for target in e.targets for narrative in target.narratives]


@pytest.fixture
def bench(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return Bench(tmp_path, capfd)


@pytest.fixture(scope="module")
def mined(tmp_path_factory):
    """A small atlas without words, to start from."""
    folder = tmp_path_factory.mktemp("mined")
    config = make_small_atlas(folder, n_per_class=6)
    (folder / "small_factory.py").write_text(FACTORY)
    for command in ("mine", "references"):
        assert main([command, "--config", str(config)]) == 0
    return folder


@pytest.fixture
def ready(mined, tmp_path, capfd, monkeypatch):
    """A bench whose atlas is mined and rendered."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    bench = Bench(tmp_path, capfd)
    shutil.rmtree(tmp_path / "photos")
    shutil.copytree(mined, tmp_path, dirs_exist_ok=True)
    return bench


def failures(names):
    """Collect the reasons why asked concepts have no name; one without any reference of its own is not asked."""
    asked = [name for name in names if name.author == "llm:test"]
    assert len(asked) > N_CONCEPTS // 2
    return [name.failure for name in asked if name.failure and not name.failure.startswith("no reference images")]


def holds_no_secret(folder, *said):
    """Search all bytes of all files, and what was printed, for the key."""
    for path in folder.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
    for text in said:
        assert KEY not in text


def holds_no_class(body, photos):
    """Search a request, the bytes of its pictures too, for anything that tells a class."""
    hidden = [*CLASSES, *LAYERS, *photos, "photos", "small_factory", "relevance share"]
    places = [
        json.dumps(body["messages"][1]["content"]).encode() if not pictures(body) else b"",
        *map(str.encode, texts(body)),
    ]
    places += [base64.b64decode(url.partition(",")[2]) for url in pictures(body)]
    for words in hidden:
        for place in places:
            assert words.encode() not in place, words
    keys = {"model", "messages", "max_completion_tokens", "response_format"}
    assert set(body) <= keys
    assert all(url.startswith("data:image/jpeg;base64,") for url in pictures(body))


def test_everything_is_written_by_the_model_and_nothing_is_asked_twice(bench):
    with TestServer(answer, key=KEY) as server:
        assert bench.run("run", server) == 0, bench.last
        assert bench.last.count("asking    test for ") == 4
        assert bench.last.index("asking    test for names:") < bench.last.index("named     ")
        n_calls, bodies = server.n_calls, list(server.bodies)
        assert max(server.calls.values()) == 1
        assert bench.run("run", server) == 0
        assert server.n_calls == n_calls, "the second run asked again"
    named = [name for name in bench.names() if name.author == "llm:test" and name.name and not name.failure]
    assert len(named) >= N_CONCEPTS - 4
    assert all(name.author != "offline" or name.failure for name in bench.names())
    assert {score.author for score in bench.scores()} == {"llm:test"}
    assert any(score.stability is not None for score in bench.scores())
    assert {narrative.author for narrative in bench.narratives()} == {"llm:test"}
    assert {narrative.audience for narrative in bench.narratives()} == {"expert", "stakeholder"}
    assert check(bench.out) == 0, "a number in a narrative differs from its record"
    tasks = [task_of(body) for body in bodies]
    assert tasks.count("naming") >= len(named) * 2, "named, and named again for the stability"
    assert tasks.count("scoring") == 3 * sum(not score.failure for score in bench.scores())
    assert {"explaining_expert", "explaining_stakeholder"} <= set(tasks)
    photos = sorted({part for path in (bench.folder / "photos").rglob("*.png") for part in (path.name, path.stem)})
    naming = [body for body in bodies if task_of(body) == "naming"]
    for body in naming:
        holds_no_class(body, photos)
    for body in bodies:
        if task_of(body) == "scoring":
            holds_no_class(body, photos)
    assert (bench.folder / "site/index.html").exists()
    holds_no_secret(bench.folder, bench.said)


def test_whatever_the_server_does_the_run_ends_with_pages(bench, caplog):
    caplog.set_level(0)
    leaky = {"429": 0.08, "500": 0.05, "html": 0.05, "cut": 0.02} | dict.fromkeys(FAULTS[2:8], 0.05)
    with TestServer(lying, key=KEY, rates=leaky, seed=3) as server:
        assert bench.run("run", server) == 0, bench.last
        assert len(server.faults) > 8
        n_calls = server.n_calls
        assert bench.run("run", server) == 0
        assert server.n_calls == n_calls
    names, scores, narratives = bench.names(), bench.scores(), bench.narratives()
    assert len(names) == N_CONCEPTS
    assert all(bool(name.name) != bool(name.failure) for name in names)
    assert len(scores) >= N_CONCEPTS - 4
    refused = [refusal for narrative in narratives for refusal in narrative.refusals]
    assert refused
    assert all(refusal.reason for refusal in refused)
    for narrative in narratives:
        said = " ".join(statement.text for statement in narrative.statements)
        assert "97.3" not in said
        assert "C77" not in said
        assert narrative.author == "llm:test" or len(narrative.refusals) >= 1
    assert (bench.folder / "site/index.html").exists()
    holds_no_secret(bench.folder, bench.said, caplog.text)


def test_a_server_that_repeats_the_key_does_not_spread_it(ready, caplog):
    caplog.set_level(0)
    echoing = lambda body: answer(body) | {"description": f"You sent Bearer {KEY} here."}  # noqa: E731
    with TestServer(lambda body: echoing(body) if task_of(body) == "naming" else answer(body)) as server:
        assert ready.run("name", server) == 0
        server.script.extend(["401"] * 40)
        assert ready.run("explain", server) == 1
    with TestServer(key="another") as server:
        assert ready.run("score", server) == 1
        assert "OPENAI_API_KEY" in ready.last
    gc.collect()
    assert "Traceback" not in ready.said + caplog.text
    holds_no_secret(ready.folder, ready.said, caplog.text)


@pytest.mark.parametrize("command", ["name", "score", "explain"])
def test_a_dry_run_tells_the_cost_and_asks_nothing(ready, command, monkeypatch):
    with TestServer(answer) as server:
        if command != "name":
            assert ready.run("name", server) == 0
        n_calls = server.n_calls
        monkeypatch.delenv("OPENAI_API_KEY")
        assert ready.run(command, server, "--dry-run") == 0, ready.last
        told = ready.last
        assert server.n_calls == n_calls
        assert ready.run(command, server) == 0
        n_calls = server.n_calls - n_calls
    found = re.search(
        r"^(\d+) calls \((\d+) replies kept from before\), about [\d,]+ input .* about \$", told, re.MULTILINE
    )
    assert found, told
    assert int(found[1]) == n_calls > 0, "the dry run told another number of calls than there were"


def test_a_dry_run_without_a_language_model_says_how_to_enable_it(ready):
    with TestServer(answer) as server:
        assert ready.run("name", server, "--dry-run", settings={"enabled": "false"}) == 1
    assert "--set llm.enabled=true" in ready.last
    assert "Traceback" not in ready.last


def test_the_cost_limit_ends_the_run_and_loses_nothing(ready):
    with TestServer(answer) as server:
        # the server counts a thousand tokens of input a call, and the limit reserves 4,096 of output
        dear = {"price_input": "100.0", "price_output": "1.0", "concurrency": "2"}
        assert ready.run("name", server, settings=dear | {"max_cost": "1.0"}) == 1
        assert ready.last.count("atlas: stopped before the cost limit") == 1
        assert "llm.max_cost" in ready.last
        assert "Traceback" not in ready.last
        n_before = server.n_calls
        assert 0 < n_before < N_CONCEPTS - 4
        assert ready.run("name", server, settings=dear | {"max_cost": "50.0"}) == 0, ready.last
        assert max(server.calls.values()) == 1, "a reply that was paid for was asked again"
    assert not failures(ready.names())


@pytest.mark.parametrize("command", ["run", "name", "explain"])
def test_no_key_is_one_clear_message(ready, monkeypatch, command):
    monkeypatch.delenv("OPENAI_API_KEY")
    with TestServer(answer) as server:
        assert ready.run(command, server, settings={"base_url": "''"}) == 1
    errors = [line for line in ready.last.splitlines() if line.startswith("atlas: ")]
    assert len(errors) == 1
    assert "OPENAI_API_KEY is empty" in errors[0]
    assert "Traceback" not in ready.last


def test_a_missing_key_is_told_before_mining(bench, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with TestServer(answer) as server:
        assert bench.run("run", server, settings={"base_url": "''"}) == 1
    assert not bench.out.exists()


def test_corrections_survive_naming_by_another_model(ready):
    table = ready.folder / "names.csv"
    with TestServer(answer) as server:
        assert ready.run("name", server) == 0
        named = next(name for name in ready.names() if not name.failure)
        assert ready.run("names", server, "export", table) == 0
        text = table.read_bytes().decode("utf-8-sig")
        assert named.name in text
        line = next(line for line in text.splitlines() if line.startswith(named.concept + ","))
        table.write_text(text.replace(line, line.replace(named.name, "my own word", 1)))
        assert ready.run("names", server, "import", table, "--author", "reader") == 0
        assert ready.run("name", server, settings={"model": "other"}) == 0
    names = {name.concept: name for name in ready.names()}
    assert names[named.concept].name == "my own word"
    assert names[named.concept].author == "person:reader"
    assert names[named.concept].date
    assert sum(name.author == "llm:other" for name in names.values()) > 10


def test_two_people_correct_tables_of_the_same_export(ready):
    first, second = ready.folder / "first.csv", ready.folder / "second.csv"
    with TestServer(answer) as server:
        assert ready.run("name", server) == 0
        one, other = [name for name in ready.names() if not name.failure][:2]
        assert ready.run("names", server, "export", first) == 0
        text = first.read_text(encoding="utf-8-sig")
        assert text.splitlines()[0].endswith(",base")
        second.write_text(_renamed(text, other, "second word"))
        first.write_text(_renamed(text, one, "first word"))
        assert ready.run("names", server, "import", first, "--author", "ann") == 0
        assert ready.run("names", server, "import", second, "--author", "bob") == 0
        names = {name.concept: (name.name, name.author, name.description) for name in ready.names()}
        assert names[one.concept] == ("first word", "person:ann", "")
        assert names[other.concept] == ("second word", "person:bob", "")
        second.write_text(_renamed(text, one, "third word"))
        assert ready.run("names", server, "import", second, "--author", "bob") == 1
    assert "corrected by ann" in ready.last
    assert {name.concept: (name.name, name.author, name.description) for name in ready.names()} == names


def _renamed(table, name, to):
    line = next(line for line in table.splitlines() if line.startswith(name.concept + ","))
    return table.replace(line, line.replace(name.name, to, 1))


def test_batches_are_submitted_then_collected_at_half_the_price(ready):
    with TestServer(answer, key=KEY) as server:
        server.batch_delay = 1
        assert ready.run("name", server, "--batch") == 0, ready.last
        assert "submitted" in ready.last
        assert not (ready.out / "names.jsonl").exists()
        assert ready.run("name", server, "--batch") == 0
        assert "waiting   for 1 batches" in ready.last
        assert server.n_calls == 0
        assert ready.run("name", server, "--batch") == 0
        assert len(server.batches) == 1
        assert not server.bodies, "what the batch answered was asked again"
        assert ready.run("name", server, "--batch") == 0
        assert "nothing to name" in ready.last
    assert len(ready.names()) == N_CONCEPTS
    assert sum(name.author == "llm:test" and bool(name.name) for name in ready.names()) >= N_CONCEPTS - 4
    journal = (ready.out / "llm/replies.jsonl").read_text().splitlines()
    assert all(json.loads(line)["reply"]["batch"] for line in journal)
    holds_no_secret(ready.folder, ready.said)


def told_cost(text):
    """Calls, and the dollars expected and at most, that an estimate tells."""
    found = re.search(r"(\d+) calls \(.* about \$([\d.]+) \(at most \$([\d.]+)", text)
    assert found, text
    return int(found[1]), float(found[2]), float(found[3])


def test_cost_of_a_batch_is_told_at_half_the_price_and_without_what_is_submitted(ready):
    dear = {"price_input": "1000", "price_output": "1000", "max_cost": "1000"}
    with TestServer(answer, key=KEY) as server:
        assert ready.run("name", server, "--dry-run", settings=dear) == 0, ready.last
        n_calls, *live = told_cost(ready.last)
        assert ready.run("name", server, "--batch", "--dry-run", settings=dear) == 0, ready.last
        assert "at half the price" in ready.last
        assert told_cost(ready.last) == pytest.approx((n_calls, live[0] / 2, live[1] / 2), abs=0.02)
        assert ready.run("name", server, "--batch", settings=dear) == 0, ready.last
        assert told_cost(ready.last) == pytest.approx((n_calls, live[0] / 2, live[1] / 2), abs=0.02)
        assert ready.run("name", server, "--batch", "--dry-run", settings=dear) == 0, ready.last
        assert told_cost(ready.last) == (0, 0, 0)
        assert f"{n_calls} requests in batches not collected yet" in ready.last
        assert len(server.batches) == 1


def test_retry_does_not_go_with_batch(ready):
    with TestServer(answer, key=KEY) as server:
        assert ready.run("name", server, "--batch", "--retry") == 1
        assert "--batch and --retry do not go together" in ready.last
        assert not server.files


def test_requests_that_failed_in_a_batch_are_asked_live(ready):
    with TestServer(answer, key=KEY, script=["500", "expired", "html", "missing"]) as server:
        assert ready.run("name", server, "--batch") == 0
        assert ready.run("name", server, "--batch") == 0
        assert len(server.bodies) == 4
    assert not failures(ready.names())


def test_concepts_that_got_no_answer_are_asked_again_on_request(ready):
    with TestServer(answer, script=["500"] * 4) as server:
        settings = {"max_retries": "0", "concurrency": "1"}
        assert ready.run("name", server, settings=settings) == 0
        failed = failures(ready.names())
        assert len(failed) == 4
        assert all("no answer after 1 attempts" in reason for reason in failed)
        n_calls = server.n_calls
        assert ready.run("name", server, settings=settings) == 0
        assert server.n_calls == n_calls
        assert ready.run("name", server, "--retry", settings=settings) == 0
        assert server.n_calls == n_calls + 4
    assert not failures(ready.names())


def test_killed_while_narratives_are_asked_for_and_run_again(ready):
    with TestServer(answer, delay=0.15) as server:
        assert ready.run("name", server) == 0
        server.calls.clear()
        code = "import sys; from precompute.cli import main; sys.exit(main(sys.argv[1:]))"
        arguments = [
            "explain",
            "--config",
            str(ready.config),
            "--set",
            "llm.enabled=true",
            "--set",
            "llm.concurrency=1",
        ]
        arguments += ["--set", f"llm.base_url={server.base_url}", "--set", "llm.model=test"]
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        journal, before = ready.out / "llm/replies.jsonl", (ready.out / "llm/replies.jsonl").read_bytes().count(b"\n")
        deadline = time.monotonic() + 60
        while journal.read_bytes().count(b"\n") < before + 2 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        explained = [read_json(path, Explanation) for path in (ready.out / "explanations").glob("*.json")]
        assert all(target.narratives for explanation in explained for target in explanation.targets)
        time.sleep(0.3)
        answered = {digest for digest, n in server.answered.items() if n}
        kept = journal.read_bytes().count(b"\n") - before
        assert ready.run("explain", server, settings={"concurrency": "8"}) == 0
        again = sum(server.calls[digest] - 1 for digest in answered)
        assert kept >= 2
        assert again <= 1, "more was asked again than the one call that was on its way"
    assert {narrative.author for narrative in ready.narratives()} == {"llm:test"}


def test_narratives_of_all_photos_are_asked_at_the_same_time(ready):
    with TestServer(answer, delay=0.1) as server:
        assert ready.run("name", server) == 0
        server.most_running = 0
        assert ready.run("explain", server) == 0
        n_audiences = 2
        assert server.most_running > n_audiences, "narratives were asked photo by photo"


@pytest.mark.parametrize("swap", [("share", 0.5, 0.0), ("share", -1.0, 0.0), ("probability", 0.5, 0.0)])
def test_the_check_of_numbers_finds_a_number_that_differs(ready, swap):
    field, factor, plus = swap
    with TestServer(answer) as server:
        assert ready.run("explain", server, settings={"enabled": "false"}) == 0
    assert check(ready.out) == 0
    path = next((ready.out / "explanations").glob("*.json"))
    explanation = json.loads(path.read_text())
    for target in explanation["targets"]:
        if field == "probability":
            target["probability"] = target["probability"] * factor
        for layer in target["layers"]:
            for concept in layer["concepts"] if field != "probability" else ():
                channel = int(concept["concept"].rsplit(":", 1)[1])
                concept["share"] = concept["share"] * factor + plus
                layer["shares"][channel] = concept["share"]
    path.write_text(json.dumps(explanation))
    assert check(ready.out) > 0
