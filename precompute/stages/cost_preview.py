"""What calls of a language model will take, told before the first of them.

Owns the estimate from a sample of the requests, and its one line. Must not know tasks, HTTP or what requests say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from precompute.atlas.evenly import spread_evenly
from precompute.llm.client import LlmClient
from precompute.llm.costs import Estimate
from precompute.llm.request import Request
from precompute.progress import Reporter

T = TypeVar("T")

N_SAMPLED = 48
"""Requests made for the estimate of a run: each costs a contact sheet, and they are much alike."""

NOT_ENABLED = (
    "the language model is not enabled: nothing would be asked. Set llm.enabled = true in the config, or add "
    "--set llm.enabled=true to the command (docs/llm.md says how to set a server up)."
)


def counted(items: Iterable[T], advance: Callable[[int], None]) -> Iterator[T]:
    """Pass items on and advance a progress bar by each."""
    for item in items:
        yield item
        advance(1)


def sampled(items: Sequence[T]) -> list[T]:
    """Pick up to `N_SAMPLED` items, evenly spread."""
    return [items[place] for place in spread_evenly(len(items), N_SAMPLED)]


def announce(
    reporter: Reporter,
    client: LlmClient,
    task: str,
    requests: Iterable[Request],
    share: float = 1.0,
    *,
    batch: bool = False,
) -> None:
    """Say in one line what will be asked, before it is asked.

    Parameters
    ----------
    reporter : Reporter
    client : LlmClient
    task : str
        For people, for example "names".
    requests : iterable of Request
        All of them or a sample.
    share : float
        Share of all requests that the sample is.
    batch : bool
        They go through the batch API.
    """
    estimate = client.estimate(requests, batch=batch)
    if 0 < share < 1:
        estimate = scaled(estimate, 1 / share)
    reporter.say(f"asking    {client.model} for {task}: {estimate}")


def scaled(estimate: Estimate, factor: float) -> Estimate:
    """Extrapolate the estimate of a sample."""
    return dataclasses.replace(
        estimate,
        n_requests=round(estimate.n_requests * factor),
        n_kept=round(estimate.n_kept * factor),
        n_waiting=round(estimate.n_waiting * factor),
        input_tokens=round(estimate.input_tokens * factor),
        output_tokens=round(estimate.output_tokens * factor),
        cost=estimate.cost * factor,
        cost_at_most=estimate.cost_at_most * factor,
        sampled=True,
    )
