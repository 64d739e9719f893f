"""Asking a language model many questions at once, and each at most twice.

Owns the event loop behind a plain iterator and the rule "refused, asked again once with the reason, then recorded as
failed". Must not know HTTP, prompts or what a reply means.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from precompute.errors import NamerError, NoReplyError, ReplyError

from .request import LanguageModel, Request

T = TypeVar("T")
Item = TypeVar("Item")

N_ASKS = 2


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What came of one question.

    Attributes
    ----------
    value : T or None
        None where every reply was refused.
    raw : str
        The last reply as it came.
    reasons : tuple of str
        Why replies were refused, in their order.
    """

    value: T | None
    raw: str
    reasons: tuple[str, ...] = ()

    @property
    def failure(self) -> str:
        """Why there is no value; empty where there is one."""
        return "" if self.value is not None else "; then: ".join(self.reasons)


class UsableReplyError(ReplyError):
    """A reply that is asked for once more and taken as it is where nothing better comes; `value` is what it says."""

    def __init__(self, reason: str, value: object) -> None:
        super().__init__(reason)
        self.value = value


async def ask_twice(model: LanguageModel, request: Callable[[str], Request], read: Callable[[str], T]) -> Answer[T]:
    """Ask, and ask once more with the reason where the reply cannot be used.

    Parameters
    ----------
    request : callable
        Makes the request; its argument is the reason why the reply before was refused, empty at first.
    read : callable
        Makes the value of a reply's text, or raises ReplyError with the reason.
    """
    raw, reasons, usable = "", list[str](), Answer[T](None, "")
    for _ in range(N_ASKS):
        try:
            raw = await model.answer(request(reasons[-1] if reasons else ""))
            return Answer(read(raw), raw, tuple(reasons))
        except NoReplyError as error:
            # Asked again with another text, a restarted run would have to ask both again.
            reasons.append(str(error))
            break
        except UsableReplyError as error:
            reasons.append(str(error))
            usable = Answer(cast(T, error.value), raw)
        except ReplyError as error:
            reasons.append(str(error))
    return Answer(usable.value, usable.raw or raw, tuple(reasons))


def require_enough(what: str, n_asked: int, reasons: Sequence[str], limit: float) -> None:
    """Refuse the outcome of a run in which too much failed; what it found is kept all the same.

    Parameters
    ----------
    what : str
        What was asked for, in the plural.
    n_asked : int
    reasons : sequence of str
        Why each failed one did.
    limit : float
        Share of those asked for that may fail.

    Raises
    ------
    NamerError
        More failed; says how many, and why most of them.
    """
    if len(reasons) <= limit * n_asked:
        return
    most = "; ".join(f"{n} times: {reason}" for reason, n in Counter(reasons).most_common(3))
    raise NamerError(
        f"{len(reasons)} of {n_asked} {what} failed, and llm.max_failed allows {limit:g} of all ({most}). What did not "
        "fail is kept: put the model or its server right and run the same command again, or raise llm.max_failed to "
        "go on without the rest."
    )


def ask_all(model: LanguageModel, items: Iterable[Item], ask: Callable[[Item], Awaitable[T]]) -> Iterator[T]:
    """Ask about all items, `model.concurrency` at a time, and yield what comes of them as it comes.

    Items are taken only when there is room for them, in the caller's thread. What is asked but not yet answered when
    the iterator is closed is given up.
    """
    remaining = iter(items)
    runner = asyncio.Runner()
    tasks: set[asyncio.Future[T]] = set()
    finished: list[asyncio.Future[T]] = []
    try:
        while True:
            _fill(runner.get_loop(), tasks, remaining, ask, 2 * model.concurrency)
            if not tasks:
                return
            done, tasks = runner.run(asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED))
            finished = list(done)
            while finished:
                yield finished.pop().result()
    finally:
        _close(runner, model, tasks.union(finished))


def _fill(
    loop: asyncio.AbstractEventLoop,
    tasks: set[asyncio.Future[T]],
    remaining: Iterator[Item],
    ask: Callable[[Item], Awaitable[T]],
    limit: int,
) -> None:
    async def asked(item: Item) -> T:
        return await ask(item)

    while len(tasks) < limit:
        try:
            item = next(remaining)
        except StopIteration:
            return
        tasks.add(loop.create_task(asked(item)))


def _close(runner: asyncio.Runner, model: LanguageModel, tasks: set[asyncio.Future[T]]) -> None:
    """Give up what is still running, unless the iterator was dropped and is collected inside another event loop."""
    if runner.get_loop().is_closed() or asyncio._get_running_loop() is not None:
        return
    runner.run(_give_up(model, tasks))
    runner.close()


async def _give_up(model: LanguageModel, tasks: set[asyncio.Future[T]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await model.close()
