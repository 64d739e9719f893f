"""How many examples a test with hypothesis tries: few and always the same ones, or many new ones."""

from hypothesis import settings

TIMES = 10


def examples(n):
    """Return `n`, or ten times as many under the profile ``random``."""
    return TIMES * n if settings.get_current_profile_name() == "random" else n
