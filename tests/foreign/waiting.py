"""Waiting for a condition. The deadline is there for failures alone."""

import time

DEADLINE_SECONDS = 60


def until(what, look, meanwhile=lambda: None):
    """Looks until there is something to see, and returns it; in between does something else."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        meanwhile()
    return found
