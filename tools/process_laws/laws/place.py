"""Owns one server under test: its directory, its flags, how it started and how it ended.

Never judges data. Invariant: every wait is bounded, and a server that neither serves nor ends
within the bound is a violation, not a reason to wait longer.
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass

from interop import peers

CONFINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "confine")
END_SECONDS_MAX = 20.0
POLL_SECONDS = 0.004


class Violation(Exception):
    """A law that does not hold, in words."""


def check(condition, text):
    if not condition:
        raise Violation(text)


@dataclass(frozen=True)
class Bench:
    """What every law is given."""

    binary: str
    home: str
    seed: int
    flips: int


class Place(peers.Server):
    """A server with a directory `home`; `confined` are words for the program `confine`."""

    def __init__(self, bench, name, flags=(), confined=()):
        super().__init__(bench.binary, f"{bench.home}/{name}", flags)
        self.confined = list(confined)

    @property
    def data(self):
        return f"{self.home}/data"

    def command(self):
        if not self.confined:
            return super().command()
        return [sys.executable, CONFINE, *self.confined, "--", *super().command()]

    def start_or_end(self):
        """Starts. None when it serves, its exit status when it ended instead."""
        try:
            self.start()
        except RuntimeError as error:
            status = self.process.poll()
            check(status is not None, f"it neither serves nor ends: {error}")
            return status
        return None

    def start_timed(self):
        """Seconds from the start of the process until /health says true."""
        began = time.monotonic()
        self.launch()
        while time.monotonic() - began < END_SECONDS_MAX:
            check(self.alive(), f"it ended at start: {self.log_tail()}")
            try:
                status, _, body = self.http("GET", "/health", timeout=1.0)
            except OSError:
                time.sleep(POLL_SECONDS)
                continue
            if status == 200 and '"health":"true"' in body:
                return time.monotonic() - began
        raise Violation(f"not healthy after {END_SECONDS_MAX} s: {self.log_tail()}")

    def ended(self, seconds=END_SECONDS_MAX):
        """The exit status of a process that must end by itself."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Violation(f"it still runs after {seconds} s: {self.log_tail()}") from None

    def said(self):
        """Everything that the last start printed."""
        with open(f"{self.home}/log.{self.starts}", errors="replace") as log:
            return log.read()


def run_once(argv, home):
    """(exit status, stdout, stderr) of a command that must end by itself."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
    try:
        done = subprocess.run(argv, cwd=home, env=environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=END_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        raise Violation(f"{argv[1:]} still runs after {END_SECONDS_MAX} s") from None
    return done.returncode, done.stdout, done.stderr
