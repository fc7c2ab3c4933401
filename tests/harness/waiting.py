"""Waiting on a condition, with a deadline. Standard library only."""

import time

PAUSE_SECONDS = 0.01


def until(what, look, seconds=30, meanwhile=lambda: time.sleep(PAUSE_SECONDS)):
    """Looks until it finds something, and answers that; does `meanwhile` between looks. Fails after `seconds`, naming `what`."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        meanwhile()
    return found
