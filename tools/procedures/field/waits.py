"""Owns waiting: a condition is polled until it holds, and a time that runs out says for what.

Never sleeps for a fixed time. Invariant: every wait is bounded.
"""

import http.client
import time

from interop import pb

POLL_SECONDS = 0.05
# Until a member that was started serves, on a busy machine.
SERVING_SECONDS_MAX = 40


class Late(Exception):
    """A condition that did not come true in time."""


def until(what, seconds, condition):
    """The first true answer; calls that fail count as no."""
    deadline = time.monotonic() + seconds
    why = "not yet"
    while True:
        try:
            answer = condition()
            if answer:
                return answer
        except (pb.Failed, OSError, http.client.HTTPException) as failed:
            why = str(failed)
        if time.monotonic() > deadline:
            raise Late(f"waited {seconds:.0f} s until {what}: {why}")
        time.sleep(POLL_SECONDS)
