"""Where `atlas` starts: an interruption before the command line is read ends in one line too.

Must not import anything that takes time but inside `main`.
"""

import os
import signal
import sys

ENVIRONMENT = {
    "THP_MEM_ALLOC_ENABLE": "1",
    "GOMP_SPINCOUNT": "30000",
    "OPENBLAS_NUM_THREADS": "1",
}
"""What torch, its OpenMP library and NumPy's OpenBLAS read once, while they are loaded; what is set already stays.

Large pages: each map of a batch is fresh memory, which the system clears page by page. How many times a thread looks
for work before it sleeps: by default about as long as a whole layer takes, so that beside another program the thread
that looks keeps the one that works from its processor. NumPy's matrices are small, and several pictures are rendered at
once: threads of each product would wait for one another, and their number would show in the last digits.
"""


def prepare_environment() -> None:
    """Set `ENVIRONMENT`, before torch is imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def _leave(*_: object) -> None:
    os.write(2, b"\natlas: interrupted before anything was done\n")
    os._exit(1)  # an exception would be raised in the middle of an import, and look like a broken installation


def main() -> int:
    """Read the command line and run it; returns the exit code."""
    before = signal.signal(signal.SIGINT, _leave)
    prepare_environment()
    from precompute.cli import main as run  # noqa: PLC0415

    signal.signal(signal.SIGINT, before)
    return run()


if __name__ == "__main__":
    sys.exit(main())
