"""What calls cost: the price table, the estimate before a run, and the hard limit while it runs.

Owns money and token counts. Must not know requests' content, HTTP or files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from precompute.config import LlmConfig
from precompute.errors import NamerError
from precompute.printing.numbers import count

BATCH_DISCOUNT = 0.5
"""The batch API costs half."""

TYPICAL_OUTPUT_TOKENS = 400
"""Of one reply, for the estimate; the limit reserves the most that a reply can cost."""


@dataclass(frozen=True)
class Prices:
    """US dollars for a million tokens, and for one run at most."""

    input: float
    output: float
    max_cost: float

    @classmethod
    def of(cls, config: LlmConfig) -> Prices:
        """Take the price table out of the config."""
        return cls(config.price_input, config.price_output, config.max_cost)

    def cost(self, input_tokens: int, output_tokens: int, *, batch: bool = False) -> float:
        """Return US dollars for the given tokens."""
        cost = (input_tokens * self.input + output_tokens * self.output) / 1e6
        return cost * BATCH_DISCOUNT if batch else cost


@dataclass(frozen=True)
class Estimate:
    """What a run will take, known before its first call.

    Attributes
    ----------
    n_requests, n_kept : int
        Questions, and those of them whose reply is kept already.
    input_tokens, output_tokens : int
        Of the calls to be made; the output is `TYPICAL_OUTPUT_TOKENS` each.
    cost, cost_at_most : float
        US dollars: expected, and if every reply is as long as it may be. Repeated asks are not in them.
    n_waiting : int
        Questions in batches that were submitted and not collected yet; not asked again.
    batch : bool
        The calls go through the batch API; the costs are at its price.
    sampled : bool
        All counts are extrapolated from a sample.
    """

    n_requests: int
    n_kept: int
    input_tokens: int
    output_tokens: int
    cost: float
    cost_at_most: float
    n_waiting: int = 0
    batch: bool = False
    sampled: bool = False

    @property
    def n_calls(self) -> int:
        """Calls to be made."""
        return self.n_requests - self.n_kept - self.n_waiting

    def __str__(self) -> str:
        """Say it in one line for people."""
        about = "about " if self.sampled else ""
        waiting = f", {count(self.n_waiting)} requests in batches not collected yet" if self.n_waiting else ""
        return (
            f"{about}{count(self.n_calls)} calls ({about}{count(self.n_kept)} replies kept from before{waiting}), "
            f"about {count(self.input_tokens)} input and {count(self.output_tokens)} output tokens, "
            f"about ${self.cost:.2f} (at most ${self.cost_at_most:.2f} without repeated asks)"
            f"{', as batches at half the price' if self.batch else ''}"
            f"{'; estimated from a sample' if self.sampled else ''}"
        )


class Budget:
    """The hard limit: every call reserves the most it can cost, and pays what it did cost.

    Parameters
    ----------
    prices : Prices

    Attributes
    ----------
    spent : float
        US dollars, earlier runs of the same atlas included.
    input_tokens, output_tokens, n_calls : int
    """

    def __init__(self, prices: Prices) -> None:
        self.prices = prices
        self.spent = 0.0
        self.input_tokens = 0
        self.output_tokens = 0
        self.n_calls = 0
        self._reserved = 0.0
        self._input_factor = 1.0

    def reserve(self, input_tokens: int, max_output_tokens: int) -> float | None:
        """Hold back the most that a call can cost; None where running calls have to end first.

        Raises
        ------
        NamerError
            Even alone, the call could exceed the limit: it must not be made.
        """
        most = self.prices.cost(self.input_at_most(input_tokens), max_output_tokens)
        if self.spent + self._reserved + most <= self.prices.max_cost:
            self._reserved += most
            return most
        if self.spent + most <= self.prices.max_cost:
            return None
        raise self.exceeded(most)

    def release(self, reserved: float) -> None:
        """Let go of what `reserve` held back."""
        self._reserved -= reserved

    def input_at_most(self, estimated: int) -> int:
        """Return the input tokens that the server may count, by what it has counted so far."""
        return math.ceil(estimated * self._input_factor)

    def learn(self, estimated: int, counted: int) -> None:
        """Reserve more from now on where a server counted more input tokens than were estimated."""
        self._input_factor = max(self._input_factor, counted / max(estimated, 1))

    def exceeded(self, cost: float, what: str = "the next call") -> NamerError:
        """Make the error that says why a call, or what else `what` names, is not made."""
        return NamerError(
            f"stopped before the cost limit: ${self.spent:.4f} spent in this atlas, and {what} may cost "
            f"${cost:.4f}; the limit is ${self.prices.max_cost:g}. All replies so far are kept: raise "
            "llm.max_cost and run the same command again to go on."
        )

    def pay(self, input_tokens: int, output_tokens: int, *, batch: bool = False) -> None:
        """Count what a call did cost."""
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.n_calls += 1
        self.spent += self.prices.cost(input_tokens, output_tokens, batch=batch)
