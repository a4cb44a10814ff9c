"""Owns the comparison: every procedure runs on etcd and on the server under test, at the same ports
one after the other, and what the operators saw is compared line by line.

Never decides what a right answer is: real etcd is the judge. Invariant: a difference is told with
the step that showed it, and whatever was started is ended.
"""

import glob
import os
import shutil
import socket
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from interop import suite as interop

from . import known
from .operator import Operator

PORTS = range(21000, 22000)
MEMBERS_MAX = 6


@dataclass(frozen=True)
class Plan:
    """The two servers, the tools, and where everything is kept."""

    theirs: str
    ours: str
    ours_is_etcd: bool
    ctls: dict
    restorers: dict
    home: str
    keep: str


@dataclass
class Outcome:
    """What came of one procedure."""

    name: str
    passed: bool
    detail: str = ""
    seconds: float = 0.0
    known: list = field(default_factory=list)


class Ports:
    """Free ports, each given once in a run."""

    def __init__(self):
        start = os.getpid() * 37 % len(PORTS)
        self.left = list(PORTS)[start:] + list(PORTS)[:start]
        self.lock = threading.Lock()

    def take(self):
        with self.lock:
            while True:
                port = self.left.pop(0)
                with socket.socket() as probe:
                    try:
                        probe.bind(("127.0.0.1", port))
                    except OSError:
                        continue
                return port

    def of_members(self):
        return {f"m{number}": (self.take(), self.take()) for number in range(1, MEMBERS_MAX + 1)}


def run(plan, procedures, lanes, say):
    """Runs the procedures, some at a time; answers their outcomes."""
    ports = Ports()

    def one(procedure):
        began = time.monotonic()
        outcome = compare(plan, procedure, ports.of_members())
        outcome.seconds = time.monotonic() - began
        say(outcome)
        return outcome

    with ThreadPoolExecutor(lanes) as pool:
        return list(pool.map(one, procedures))


def compare(plan, procedure, ports):
    name = procedure.__name__
    theirs = transcript(plan, procedure, "etcd", plan.theirs, ports)
    ours = transcript(plan, procedure, "ours", plan.ours, ports)
    if plan.keep:
        interop.write_transcript(plan.keep, name, theirs.timed(), ours.timed())
    used, differences = [], []
    for at, (line, text) in enumerate(theirs.entries):
        if not plan.ours_is_etcd:
            text, rows = known.rewrite(name, line, text)
            used += rows
        if at >= len(ours.entries):
            break
        if (line, text) != ours.entries[at]:
            ours_line, ours_text = ours.entries[at]
            step = line if line == ours_line else f"{line} / {ours_line}"
            differences.append(interop.difference(f"{at + 1}. {step}", text, ours_text))
    if len(theirs.entries) != len(ours.entries):
        differences.append(f"    {len(theirs.entries)} steps, and ours {len(ours.entries)}\n")
    for side, operator in (("etcd", theirs), ("ours", ours)):
        if operator.failure:
            differences.append(f"    {side} failed: {operator.failure}\n")
    return Outcome(name, not differences, "".join(differences), known=sorted(set(used)))


def transcript(plan, procedure, side, binary, ports):
    """The operator after the procedure, with everything that was seen."""
    home = f"{plan.home}/{procedure.__name__}/{side}"
    operator = Operator(binary, home, ports, plan.ctls, plan.restorers[side])
    try:
        procedure(operator)
    except Exception as error:  # told with the outcome
        operator.failure = f"{type(error).__name__}: {error}{operator.last_logs()}"
        if not isinstance(error, (RuntimeError, AssertionError)) and "Late" not in repr(error):
            operator.failure += "\n" + traceback.format_exc()
    finally:
        operator.end()
        if plan.keep:
            keep_logs(plan.keep, procedure.__name__, side, home)
        shutil.rmtree(home, ignore_errors=True)
    return operator


def keep_logs(folder, name, side, home):
    os.makedirs(folder, exist_ok=True)
    for log in sorted(glob.glob(f"{home}/*/log.*")):
        member, number = log.split("/")[-2:]
        shutil.copyfile(log, f"{folder}/{name}.{side}.{member}.{number}")
