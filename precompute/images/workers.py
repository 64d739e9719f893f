"""Worker processes that decode and preprocess: how they start, and how they end.

Must not know what they work on.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import os
import signal
import threading

import torch


def n_cpus() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_context() -> multiprocessing.context.BaseContext:
    """Choose how workers start: never by forking this process, whose threads (CUDA's, OpenMP's) would be cut off."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver, resource_tracker  # noqa: PLC0415 - they are not there on every system

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["precompute.images.dataset"])
    resource_tracker.ensure_running()  # it lets the signal through again once it runs, so it comes first
    # What the server blocks its workers block from their first moment, long before `start_worker` runs in them.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


def start_worker(_: int = 0) -> None:
    """Make a worker process one that computes alone, is silent at Ctrl-C, and ends when its parent does."""
    # Ctrl-C reaches the whole group of processes; the parent ends its workers itself, without their tracebacks.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)


def _end_with_parent() -> None:
    # A worker would wait for work for ever if the parent was killed: its own parent is the server that forked it.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
