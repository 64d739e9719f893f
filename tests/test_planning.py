"""Plans of language models: read strictly, never printed, made whole; and what happens where none can be used."""

import asyncio
import json
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.order_bias import bias_of, order_of, rank_correlation
from benchmarks.replies_as_plans import REPLIES, read_replies
from precompute.config import LlmConfig
from precompute.errors import ReplyError
from precompute.llm.client import LlmClient
from precompute.narratives.audiences import AUDIENCES, find_audience
from precompute.narratives.facts import derive_facts
from precompute.narratives.planner import MAX_MENU, MAX_REPLY, Commission, plan_and_narrate
from precompute.narratives.wording import find_wording
from tests.many_examples import examples
from tests.random_predictions import random_prediction
from tests.server import TestServer

UNTRUSTED = [
    json.loads(line)
    for line in (Path(__file__).parent / "replies/untrusted_plans.jsonl").read_text(encoding="utf-8").splitlines()
]


def commission(seed, audience="stakeholder", language="en", key=""):
    table = random_prediction(seed).table()
    if key:
        table = type(table)(**{**vars(table), "key": key})
    chosen = find_audience(audience)
    wording = find_wording(language, audience, chosen.decimals)
    return Commission(table, derive_facts(table), chosen, wording)


def fitted(reply, given_commission):
    """Put the codes of one table into a stored plan: ``@3`` is its fourth, ``@other:3`` one of another photo."""
    codes, others = list(given_commission.menu()), list(commission(3, key="another photo").menu())
    others = [code for code in others if code not in codes]
    reply = re.sub(r"@other:(\d+)", lambda match: others[int(match[1]) % len(others)], reply)
    reply = reply.replace("@megabyte", "very " * 200_000)
    if reply == "@sentences":
        sentence = {"facts": [codes[0]], "relation": "also"}
        plan = {"reasoning": "", "headline": sentence, "paragraphs": [{"sentences": [sentence] * 20_000}]}
        reply = json.dumps({**plan, "left_out": []})
    return re.sub(r"@(\d+)", lambda match: codes[int(match[1]) % len(codes)], reply)


def must_tell(given_commission):
    facts = given_commission.audience.concerns(given_commission.facts, given_commission.table)
    return {fact.id for fact in facts if fact.must}


def told(narrative):
    return {fact for statement in narrative.statements for fact in statement.facts}


def test_there_are_untrusted_plans_of_every_kind():
    assert len(UNTRUSTED) >= 300
    assert Counter(item["expect"] for item in UNTRUSTED)["worded"] > 80


@pytest.mark.parametrize("seed", [1, 12])
def test_no_untrusted_plan_prints_a_character_of_its_own(seed):
    asked = commission(seed)
    for item in UNTRUSTED:
        reply = fitted(item["reply"], asked)
        if item["expect"] == "refused":
            with pytest.raises(ReplyError):
                asked.read(reply)
            continue
        plan = asked.read(reply)
        narrative = asked.narrate(plan, "llm:untrusted")
        silent = asked.read(json.dumps({**json.loads(reply), "reasoning": ""}))
        assert narrative == asked.narrate(silent, "llm:untrusted"), item["why"]
        assert must_tell(asked) <= told(narrative), item["why"]
        assert all(paragraph.statements or paragraph.table for paragraph in narrative.paragraphs)


CODES = st.sampled_from(["@0", "@1", "@2", "@5", "@9", "zzz"])
SENTENCES = st.fixed_dictionaries(
    {"facts": st.lists(CODES, max_size=4), "relation": st.sampled_from(["also", "but", "same", "so"])}
)
ANY = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=20), st.lists, max_leaves=5)
PLANS = st.fixed_dictionaries(
    {
        "reasoning": st.text(max_size=50) | ANY,
        "headline": SENTENCES | ANY,
        "paragraphs": st.lists(st.fixed_dictionaries({"sentences": st.lists(SENTENCES, max_size=3)}), max_size=3),
        "left_out": st.lists(CODES, max_size=3),
    }
)


@settings(max_examples=examples(150))
@given(st.integers(0, 2000), st.sampled_from(sorted(AUDIENCES)), PLANS)
def test_any_reply_is_refused_or_worded_whole(seed, audience, plan):
    asked = commission(seed, audience)
    try:
        read = asked.read(fitted(json.dumps(plan), asked))
    except ReplyError:
        return
    narrative = asked.narrate(read, "llm:model")
    tabled = {"lead", "opposes", "mark_leads"} if asked.audience.has_tables else set()
    assert {fact for fact in must_tell(asked) if fact.partition(":")[0] not in tabled} <= told(narrative)


def test_codes_say_nothing_and_belong_to_one_photo():
    one, same, other = commission(5), commission(5), commission(5, key="another")
    assert list(one.menu()) == list(same.menu())
    assert all(re.fullmatch("[a-z]{3}", code) for code in one.menu())
    assert len(set(one.menu()) & set(other.menu())) <= 1
    assert set(map(str, one.menu().values())) == set(map(str, other.menu().values()))


def test_the_order_of_the_menu_says_nothing():
    """Over many photos every third of the menu holds as many must-tell facts as chance would put there."""
    thirds = Counter()
    for seed in range(120):
        facts = list(commission(seed, key=f"photo {seed}").menu().values())
        for position, fact in enumerate(facts):
            thirds[3 * position // len(facts)] += fact.must
    assert max(thirds.values()) < 1.35 * min(thirds.values())


def planned_by(seed, choose):
    """Let somebody plan one text from its menu, as a finished atlas would hold it."""
    asked = commission(seed, "expert", key=f"photo {seed}")
    menu = asked.menu()
    codes = choose(list(menu), menu)
    sentences = [{"facts": [code], "relation": "also"} for code in codes]
    plan = {"reasoning": "", "headline": {"facts": [], "relation": "also"}, "left_out": []}
    plan["paragraphs"] = [{"sentences": sentences}]
    return order_of(list(menu.values()), asked.narrate(asked.read(json.dumps(plan)), "llm:model"))


def test_a_planner_that_follows_the_menu_is_found_out_and_one_that_does_not_is_not():
    as_listed = bias_of(planned_by(seed, lambda codes, menu: codes[: len(codes) // 2]) for seed in range(60))
    by_kind = bias_of(
        planned_by(seed, lambda codes, menu: sorted(codes, key=lambda code: menu[code].id)) for seed in range(60)
    )
    assert as_listed["correlation"] > 0.6
    assert abs(by_kind["correlation"]) < 3 * by_kind["standard error"]
    first, _, last = as_listed["told of the first, second and last third"].split(", ")
    assert float(Fraction(first)) > 0.5 > float(Fraction(last))


@pytest.mark.parametrize(("places", "expected"), [((0, 1, 2, 3), 1), ((3, 2, 1, 0), -1), ((1, 0, 3, 2), 0.6)])
def test_rank_correlation(places, expected):
    assert rank_correlation(places) == pytest.approx(expected)


def test_the_schema_holds_only_this_tables_facts_within_the_limits_of_strict_schemas():
    asked = commission(5, "expert")
    request = asked.request()
    assert 3 * MAX_MENU <= 1000
    assert len(json.dumps(request.schema)) < MAX_REPLY

    def objects(schema):
        if isinstance(schema, dict):
            if schema.get("type") == "object":
                yield schema
            for value in schema.values():
                yield from objects(value)
        elif isinstance(schema, list):
            for value in schema:
                yield from objects(value)

    found = list(objects(request.schema))
    assert len(found) == 4  # the reply, its headline, a paragraph, a sentence of it
    codes = [request.schema["properties"]["left_out"], *(each["properties"].get("facts") for each in found)]
    codes = [part["items"]["enum"] for part in codes if part]
    assert len(codes) == 3
    assert all(sorted(each) == sorted(asked.menu()) for each in codes)
    for each in found:
        assert each["additionalProperties"] is False
        assert set(each["required"]) == set(each["properties"])


def test_names_reach_the_model_as_quoted_data():
    user = commission(5).request().user
    lines = [line for line in user.splitlines() if re.match("- [a-z]{3}", line)]
    assert len(lines) == len(commission(5).menu())
    assert all(json.loads(line.partition(": ")[2]) for line in lines)


def ask(server, asked):
    return run_with(server, lambda client: plan_and_narrate(asked, client))


def run_with(server, work):
    """Run work with a client of the test server."""
    config = LlmConfig(enabled=True, base_url=server.base_url, model="test", price_input=0.0, price_output=0.0)

    async def run(client):
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(run(LlmClient(config, asked_folder(server))))


def asked_folder(server):
    return Path(server.folder)


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with TestServer() as running:
        running.folder = tmp_path / "llm"
        yield running


def test_a_plan_is_worded_by_the_program_and_its_author_recorded(server):
    asked = commission(5)
    narrative = ask(server, asked)
    assert (narrative.planner, narrative.refusals) == ("llm:test", ())
    assert narrative.prompt_digest
    assert must_tell(asked) <= told(narrative)
    assert server.n_calls == 1


@pytest.mark.parametrize(
    "fault", ["invalid_json", "truncated_json", "wrong_schema", "refusal", "wrong_ids", "megabyte", "length"]
)
def test_a_plan_that_cannot_be_used_is_asked_for_once_more(server, fault):
    server.script.append(fault)
    narrative = ask(server, commission(5))
    assert narrative.planner == "llm:test"
    assert [refusal.attempt for refusal in narrative.refusals] == [0]
    assert narrative.refusals[0].reason
    assert server.n_calls == 2


@pytest.mark.parametrize("fault", ["invalid_json", "wrong_schema", "wrong_ids"])
def test_after_two_the_built_in_plan_takes_its_place_and_both_are_recorded(server, fault):
    server.script.extend([fault, fault])
    asked = commission(5)
    narrative = ask(server, asked)
    assert narrative.planner == "built-in"
    assert [refusal.attempt for refusal in narrative.refusals] == [0, 1]
    assert all(refusal.reply for refusal in narrative.refusals)
    assert narrative.paragraphs == asked.narrate().paragraphs
    assert server.n_calls == 2


@pytest.mark.skipif(not REPLIES.exists(), reason=f"the development data is not there: {REPLIES}")
def test_what_a_real_model_told_is_realised_at_the_first_try():
    """Its 22 narratives, turned into plans by kind and cites: none is refused, and what it cited is told."""
    found = list(read_replies())
    assert len(found) == 22
    n_planned = n_told = 0
    for asked, reply, wanted in found:
        narrative = asked.narrate(asked.read(reply), "llm:claude")
        tabled = {"lead", "opposes", "mark_leads"} if asked.audience.has_tables else set()
        assert {fact for fact in must_tell(asked) if fact.partition(":")[0] not in tabled} <= told(narrative)
        n_planned, n_told = n_planned + len(wanted), n_told + len(wanted & told(narrative))
    assert n_told >= 0.9 * n_planned  # the others gave way for length
