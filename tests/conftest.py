"""What holds for all tests."""

import signal

from hypothesis import settings

# The fast suite tries the same examples everywhere, so that what is green here is green on a fresh checkout; `make
# test-all` takes new ones each time, and more of them (tests/many_examples.py).
settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile("same")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # Begun in the background, the tests ignore Ctrl-C, and so would the programs that they start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
