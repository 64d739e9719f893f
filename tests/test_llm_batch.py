"""The batch API: submitted, left, collected into the same journal."""

import asyncio
import json

import pytest

from precompute.errors import NamerError
from precompute.llm.batch import BatchRunner
from precompute.llm.request import Request
from tests.server import TestServer
from tests.test_llm import KEY, SCHEMA, ask_one, make_client, picture

REQUESTS = [Request("naming", "s", str(n), (picture((n, 0, 0)),), SCHEMA) for n in range(6)]


def run(client, state, action):
    async def work():
        try:
            return await action(BatchRunner(client, state))
        finally:
            await client.close()

    return asyncio.run(work())


def test_replies_of_a_batch_answer_later_requests(tmp_path):
    state = tmp_path / "batches.json"
    with TestServer() as server:
        server.batch_delay = 1
        assert run(make_client(server, tmp_path), state, lambda r: r.submit(REQUESTS)) == 6
        assert run(make_client(server, tmp_path), state, lambda r: r.submit(REQUESTS)) == 0  # still running
        assert run(make_client(server, tmp_path), state, lambda r: r.collect()).n_waiting == 1
        client = make_client(server, tmp_path, price_input=1.0, price_output=0.0)
        collected = run(client, state, lambda r: r.collect())
        assert (collected.n_replies, collected.n_failed, collected.n_waiting) == (6, 0, 0)
        assert client.budget.spent == pytest.approx(6 * 0.001 / 2)  # half the price
        assert run(make_client(server, tmp_path), state, lambda r: r.submit(REQUESTS)) == 0  # kept replies
        n_calls = server.n_calls
        assert json.loads(asyncio.run(answer(client, REQUESTS[2])))["name"]
        assert server.n_calls == n_calls == 6
        assert len(server.batches) == 1


async def answer(client, request):
    try:
        return await client.answer(request)
    finally:
        await client.close()


def test_bad_results_are_left_to_a_live_run(tmp_path):
    state = tmp_path / "batches.json"
    with TestServer(script=["500", "expired", "missing", "wrong_custom_id", "html", "ok"]) as server:
        run(make_client(server, tmp_path), state, lambda r: r.submit(REQUESTS))
        collected = run(make_client(server, tmp_path), state, lambda r: r.collect())
        assert (collected.n_replies, collected.n_failed, collected.n_unknown) == (1, 5, 1)
        assert run(make_client(server, tmp_path), state, lambda r: r.submit(REQUESTS)) == 5


def test_batch_over_the_cost_limit_is_not_submitted(tmp_path):
    with TestServer() as server:
        client = make_client(server, tmp_path, price_output=1000.0, max_cost=1.0)
        with pytest.raises(NamerError, match=r"cost limit.* the batch of these 6 requests may cost"):
            run(client, tmp_path / "batches.json", lambda r: r.submit(REQUESTS))
        assert not server.files


def test_batches_not_collected_count_towards_the_limit_and_are_told(tmp_path):
    state = tmp_path / "batches.json"
    with TestServer() as server:
        client = make_client(server, tmp_path, price_input=0.0, price_output=1000.0, max_cost=4.096 * 2.5)
        assert run(client, state, lambda r: r.submit(REQUESTS[:4])) == 4  # at half the price
        assert run(client, state, lambda r: r.submit(REQUESTS[:4])) == 0
        with pytest.raises(NamerError, match="these 2 requests, with the 4 requests in batches not collected yet, may"):
            run(client, state, lambda r: r.submit(REQUESTS))
        assert len(server.batches) == 1


def test_batch_of_another_model_is_not_collected(tmp_path):
    state = tmp_path / "batches.json"
    with TestServer() as server:
        run(make_client(server, tmp_path), state, lambda r: r.submit(REQUESTS))
        with pytest.raises(NamerError, match="was submitted to test"):
            run(make_client(server, tmp_path, model="other"), state, lambda r: r.collect())


def test_refused_key_ends_the_submission_without_showing_it(tmp_path):
    with TestServer(key="another") as server:
        client = make_client(server, tmp_path, environment={"OPENAI_API_KEY": KEY})
        with pytest.raises(NamerError, match="refused the key") as info:
            run(client, tmp_path / "batches.json", lambda r: r.submit(REQUESTS))
        assert "TESTKEY" not in str(info.value)


def test_live_question_still_works_beside_a_batch(tmp_path):
    with TestServer() as server:
        client = make_client(server, tmp_path)
        run(client, tmp_path / "batches.json", lambda r: r.submit(REQUESTS[:1]))
        assert ask_one(client, "other")
