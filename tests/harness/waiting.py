"""Waiting on a condition, with a deadline that is there for failures alone. Standard library only."""

import time

DEADLINE_SECONDS = 60
PAUSE_SECONDS = 0.01


def until(what, look, meanwhile=lambda: time.sleep(PAUSE_SECONDS)):
    """Looks until it finds something, and answers that; does `meanwhile` between looks."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        meanwhile()
    return found
