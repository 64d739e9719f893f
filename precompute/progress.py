"""How long work tells of itself: a protocol, so that stages need not know terminals.

Owns the interface. Must not know what is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Reporter(Protocol):
    """Receives what a user wants to know while waiting."""

    def track(
        self, label: str, total: int, *, done: int = 0, unit: str = "it"
    ) -> AbstractContextManager[Callable[[int], None]]:
        """Open a progress bar; the function it yields advances it."""
        ...

    def say(self, text: str) -> None:
        """Tell one line."""
        ...


class SilentReporter:
    """Tells nothing; keeps the lines said, for tests."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def track(self, label: str, total: int, *, done: int = 0, unit: str = "it") -> Iterator[Callable[[int], None]]:
        """Yield a function that does nothing."""
        yield lambda n: None

    def say(self, text: str) -> None:
        """Keep one line."""
        self.lines.append(text)
