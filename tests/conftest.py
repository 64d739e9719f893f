"""What holds for all tests."""

import gc
import os
import signal
from functools import cache
from pathlib import Path

import httpcore2
import pytest
from hypothesis import settings

# The fast suite tries the same examples everywhere, so that what is green here is green on a fresh checkout; `make
# test-all` takes new ones each time, and more of them (tests/many_examples.py).
settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile("same")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # Begun in the background, the tests ignore Ctrl-C, and so would the programs that they start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)

LONG = (
    "damage", "surroundings", "ownership", "cli", "site_browser", "agreement", "boundary", "documents", "llm_run",
    "site", "cropped_heatmaps", "engine_on_chains", "wheel", "explanation_stage", "cut", "own_network", "site_truth",
    "graph", "one_line_errors", "batches", "published", "receptive_field",
)  # fmt: skip
"""Files of many seconds: they come first, so that no process is left with one of them when the others have ended."""


def pytest_collection_modifyitems(items):
    """Put the tests of long files first; the order within a file stays."""
    first = {f"test_{name}": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: first.get(Path(item.path).stem, len(first)))


def pytest_collection_finish():
    """Leave what the imports made out of the collector's rounds: zennit-crp asks for a full one at every step."""
    gc.collect()
    gc.freeze()


_read_certificates = httpcore2.default_ssl_context


@cache
def _certificates(*_):
    return _read_certificates()


@pytest.fixture(autouse=True)
def certificates_are_read_once(monkeypatch):
    """Give hundreds of clients one set of certificates; where the variables name another, that one is read."""
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR")
    monkeypatch.setattr(httpcore2, "default_ssl_context", lambda **_: _certificates(*map(os.environ.get, names)))
