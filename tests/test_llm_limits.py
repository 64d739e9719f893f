"""Cost limits, the journal of replies, and a client that is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from precompute.errors import NamerError, StoreError
from precompute.journal import Entry, Journal
from precompute.llm_reply import Reply
from precompute.llm_request import Request, image_tokens
from tests.server import TestServer
from tests.test_llm import SCHEMA, ask, ask_one, make_client, picture


def test_estimate_counts_and_calls_nothing(tmp_path):
    requests = [Request("naming", "s" * 700, str(n), (picture(size=320),), SCHEMA) for n in range(10)]
    with TestServer() as server:
        client = make_client(server, tmp_path, dry_run=True, price_input=1.0, price_output=10.0)
        estimate = client.estimate(requests)
        assert (estimate.n_calls, estimate.n_kept, server.n_calls) == (10, 0, 0)
        assert estimate.input_tokens == sum(request.input_tokens() for request in requests) > 10 * 200
        assert estimate.cost == pytest.approx((estimate.input_tokens + 10 * estimate.output_tokens) / 1e6)
        assert estimate.cost_at_most > estimate.cost
        assert "10 calls" in str(estimate)
        with pytest.raises(NamerError, match="dry run"):
            ask_one(client)
        assert server.n_calls == 0
    assert image_tokens(picture(size=512)) >= 255


def test_hard_cost_limit_stops_before_it_is_exceeded(tmp_path):
    """Each call costs 1,000 input tokens = $0.001 by the server's count; the limit allows a few."""
    with TestServer() as server:
        client = make_client(server, tmp_path, price_input=1.0, price_output=0.0, max_cost=0.0105, concurrency=8)
        answers = ask(client, *(str(n) for n in range(30)), system="s" * 3400)
        stopped = [a for a in answers if isinstance(a, NamerError)]
        assert 0 < server.n_calls <= 10
        assert len(stopped) == 30 - server.n_calls
        assert "cost limit" in str(stopped[0])
        assert client.budget.spent == pytest.approx(server.n_calls * 0.001)
        n_calls = server.n_calls
        again = make_client(server, tmp_path, price_input=1.0, price_output=0.0, max_cost=n_calls * 0.001)
        assert isinstance(ask(again, "new")[0], NamerError)  # what earlier runs spent counts
        assert server.n_calls == n_calls


def test_limit_learns_from_a_server_that_counts_more(tmp_path):
    with TestServer() as server:
        client = make_client(server, tmp_path, price_input=1.0, price_output=0.0, max_cost=0.0105, concurrency=1)
        answers = ask(client, *(str(n) for n in range(30)))  # estimated at a few dozen tokens each
        assert server.n_calls == 10
        assert sum(isinstance(a, NamerError) for a in answers) == 20


def test_limit_reserves_the_longest_reply(tmp_path):
    with TestServer() as server:
        client = make_client(server, tmp_path, price_input=0.0, price_output=1000.0, max_cost=4.0)
        with pytest.raises(NamerError, match="cost limit"):
            ask_one(client)
        assert server.n_calls == 0


def entry(digest, text="{}"):
    return Entry(digest, "naming", "m", Reply(text, 1, 1))


def test_journal_forgets_a_torn_last_line_only(tmp_path):
    path = tmp_path / "replies.jsonl"
    journal = Journal(path)
    for digest in ("a", "b", "c"):
        journal.append(entry(digest))
    journal.close()
    whole = path.read_bytes()
    for cut in range(1, 60):
        path.write_bytes(whole[:-cut])
        journal = Journal(path)
        assert journal.get("b") == Reply("{}", 1, 1)
        assert journal.get("c") is None
        journal.append(entry("d"))
        journal.close()
        journal = Journal(path)
        assert journal.get("d") is not None
        journal.close()


def test_journal_with_a_damaged_line_names_it(tmp_path):
    path = tmp_path / "replies.jsonl"
    journal = Journal(path)
    journal.append(entry("a"))
    journal.close()
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    with pytest.raises(StoreError, match="line 1"):
        Journal(path).get("a")


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks there")
def test_journal_is_used_by_one_run_at_a_time(tmp_path):
    first = Journal(tmp_path / "replies.jsonl")
    first.append(entry("a"))
    with pytest.raises(NamerError, match="in use by another run"):
        Journal(tmp_path / "replies.jsonl").get("a")
    first.close()
    assert Journal(tmp_path / "replies.jsonl").get("a")


KILLED = """
import sys
from pathlib import Path
from precompute.config import LlmConfig
from precompute.llm import LlmClient
from precompute.naming import LlmNamer
from precompute.records import Concept
from tests.drawn_references import drawn_evidence
client = LlmClient(LlmConfig(base_url=sys.argv[1], model="test", concurrency=4), Path(sys.argv[2]), environment={})
evidence = [drawn_evidence(Concept("c", channel), 2, 0) for channel in range(40)]
print(sum(bool(name.name) for name in LlmNamer(client, input_size=32).name(evidence)))
"""


def test_killed_run_goes_on_without_asking_again(tmp_path):
    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", KILLED]
    environment = dict(os.environ, PYTHONPATH=str(root))
    journal = tmp_path / "replies.jsonl"
    with TestServer(delay=0.05) as server:
        arguments = [*command, server.base_url, str(tmp_path)]
        process = subprocess.Popen(arguments, env=environment, cwd=root)
        while process.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") < 8):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(0.2)
        n_kept = journal.read_bytes().count(b"\n")
        assert 8 <= n_kept < 40
        n_calls = server.n_calls
        assert n_calls - n_kept <= 4  # only what was on its way was lost
        done = subprocess.run(arguments, env=environment, cwd=root, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "40"
        assert server.n_calls == n_calls + 40 - n_kept
