"""Where `atlas` starts: an interruption before the command line is read ends in one line too.

Must not import anything that takes time but inside `main`.
"""

import os
import signal
import sys


def _leave(*_: object) -> None:
    os.write(2, b"\natlas: interrupted before anything was done\n")
    os._exit(1)  # an exception would be raised in the middle of an import, and look like a broken installation


def main() -> int:
    """Read the command line and run it; returns the exit code."""
    before = signal.signal(signal.SIGINT, _leave)
    from precompute.cli import main as run  # noqa: PLC0415

    signal.signal(signal.SIGINT, before)
    return run()


if __name__ == "__main__":
    sys.exit(main())
