"""Cost limits, the journal of replies, and a client that is killed."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from precompute.errors import NamerError, ReplyError, StoreError
from precompute.llm.costs import Estimate
from precompute.llm.journal import Entry, Journal
from precompute.llm.reply import Reply
from precompute.llm.request import Request, image_tokens
from precompute.stages.cost_preview import scaled
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


def limited(server, folder, n_calls, **changes):
    """Make a client whose limit allows so many calls at the most that `ask_one` can cost, and tell that cost."""
    request = Request("naming", "s", "u", (), SCHEMA)
    most = request.input_tokens() * 1000 / 1e6 + request.max_output_tokens * 10 / 1e6
    changes = {"price_input": 1000.0, "price_output": 10.0, "max_cost": most * (n_calls + 0.2), **changes}
    return make_client(server, folder, timeout=0.3, max_retries=6, **changes), most


@pytest.mark.parametrize("fault", ["cut", "html", "hang"])
def test_lost_calls_count_in_full_and_retries_stop_before_the_limit(tmp_path, fault):
    with TestServer(script=[fault] * 7) as server:
        client, most = limited(server, tmp_path, 2)
        with pytest.raises(NamerError, match="stopped before the cost limit") as info:
            ask_one(client)
        assert not isinstance(info.value, ReplyError)
        assert server.n_calls == 2
        assert client.budget.spent == pytest.approx(2 * most)
        again, _ = limited(server, tmp_path, 2)
        with pytest.raises(NamerError, match="cost limit"):  # they count in the next run too
            ask_one(again)
        assert server.n_calls == 2


def test_retries_of_many_calls_at_once_stay_within_the_limit(tmp_path):
    with TestServer(script=["cut"] * 200) as server:
        client, most = limited(server, tmp_path, 7, concurrency=8)
        answers = ask(client, *(chr(ord("a") + n) for n in range(12)))
        assert any("cost limit" in str(a) for a in answers)
        assert server.n_calls == 7
        assert client.budget.spent == pytest.approx(7 * most)


def test_refused_attempts_cost_nothing(tmp_path):
    with TestServer(script=["500", "429", "503", "500"]) as server:
        client, _ = limited(server, tmp_path, 1)
        assert ask_one(client)
        assert client.budget.n_calls == 1


@pytest.mark.parametrize(("reads", "n_paid"), [(True, 4), (False, 0)])
def test_call_counts_as_lost_where_the_server_may_have_read_it(tmp_path, reads, n_paid):
    """A server that hangs up without a word, and one that is not there."""

    async def run():
        async def hang_up(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        address = SimpleNamespace(base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        if not reads:
            server.close()
        client = make_client(address, tmp_path)
        try:
            with pytest.raises(ReplyError, match="cannot reach the server"):
                await client.answer(Request("naming", "s", "u", (), SCHEMA))
        finally:
            await client.close()
            server.close()
        return client.budget.n_calls

    assert asyncio.run(run()) == n_paid


def test_reply_that_was_cut_off_unread_counts_as_the_longest(tmp_path):
    with TestServer(script=["megabyte"]) as server:
        client, most = limited(server, tmp_path, 1)
        with pytest.raises(ReplyError, match="longer than"):
            ask_one(client)
        assert client.budget.spent == pytest.approx(most)


def test_lost_call_counts_what_the_server_was_seen_to_count(tmp_path):
    """The server counts 1,000 input tokens where a few dozen were estimated."""
    with TestServer(script=["ok", "cut"]) as server:
        client = make_client(server, tmp_path, price_input=1.0, price_output=0.0, concurrency=1)
        ask(client, "a", "b")
        assert server.n_calls == 3
        assert client.budget.spent == pytest.approx(0.003, rel=0.01)


def test_estimate_of_a_batch_is_at_half_the_price_and_leaves_out_what_waits(tmp_path):
    requests = [Request("naming", "s", str(n), (), SCHEMA) for n in range(10)]
    with TestServer() as server:
        client = make_client(server, tmp_path, price_input=1000.0, price_output=1000.0)
        live, batch = client.estimate(requests), client.estimate(requests, batch=True)
        waiting = {client.digest(request) for request in requests[:4]}
        rest = client.estimate(requests, batch=True, waiting=waiting)
    assert (batch.cost, batch.cost_at_most) == pytest.approx((live.cost / 2, live.cost_at_most / 2))
    assert "at half the price" in str(batch)
    assert "half" not in str(live)
    assert (rest.n_calls, rest.n_waiting) == (6, 4)
    assert rest.cost_at_most == pytest.approx(batch.cost_at_most * 0.6)
    assert "6 calls (0 replies kept from before, 4 requests in batches not collected yet)" in str(rest)


def test_extrapolated_counts_are_told_as_such():
    estimate = Estimate(48, 3, 480, 4800, 0.1, 0.2)
    assert str(estimate).startswith("45 calls (3 replies kept from before)")
    told = str(scaled(estimate, 10))
    assert told.startswith("about 450 calls (about 30 replies kept from before)")
    assert told.endswith("estimated from a sample")


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


def test_a_reply_that_was_changed_is_not_taken_for_what_was_said(tmp_path):
    path = tmp_path / "replies.jsonl"
    journal = Journal(path)
    journal.append(entry("a"))
    journal.append(entry("b", "a wheel"))
    journal.close()
    assert Journal(path).get("b").text == "a wheel"
    path.write_bytes(path.read_bytes().replace(b"a wheel", b"a whale"))
    with pytest.raises(StoreError, match=r"line 2, is damaged: .*Delete the line"):
        Journal(path).get("b")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:1]))  # as the message says
    assert Journal(path).get("b") is None
    assert Journal(path).get("a") is not None


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
from precompute.llm.client import LlmClient
from precompute.naming.namer import LlmNamer
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
