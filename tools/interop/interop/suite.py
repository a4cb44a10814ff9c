"""Owns the comparison: runs every case on both servers at once and compares the transcripts.

Never decides what a right answer is: real etcd is the judge. Invariant: both servers see the same
cases in the same order, so revisions are compared exactly; after a difference both get new data.
"""

import difflib
import json
import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from . import known
from .mask import Masker
from .peers import Server
from .steps import Side


@dataclass
class Outcome:
    """What came of one case: 'passed', 'failed' or 'skipped', and the difference."""

    name: str
    result: str
    detail: str = ""
    seconds: float = 0.0
    known: list = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What to run: the two servers (binary, extra flags) and the tools."""

    ours: str
    ours_flags: tuple
    ours_is_etcd: bool
    etcd: str
    etcd_version: str
    ctls: dict
    home: str
    verbose: str


class Pair:
    """Two servers, fresh, started together; `left` is real etcd."""

    def __init__(self, plan, home, flags):
        self.left = Server(plan.etcd, f"{home}/etcd", flags)
        self.right = Server(plan.ours, f"{home}/ours", [*plan.ours_flags, *flags])
        self.ids = {}

    def start(self, ctl):
        for result in both(lambda server: server.start(), self.left, self.right):
            if isinstance(result, Exception):
                raise result
        for server in (self.left, self.right):
            self.ids[server] = _ids(server, ctl)
        return self

    def destroy(self):
        both(lambda server: server.destroy(), self.left, self.right)


def both(action, left, right):
    """Runs the action on both at once; exceptions come back as values."""
    results = [None, None]

    def one(at, argument):
        try:
            results[at] = action(argument)
        except Exception as error:  # handed to the caller
            results[at] = error

    other = threading.Thread(target=one, args=(1, right))
    other.start()
    one(0, left)
    other.join()
    return results


def _ids(server, ctl):
    done = subprocess.run(
        [ctl, f"--endpoints={server.endpoint}", "get", "no such key", "-w", "json"],
        capture_output=True, text=True, timeout=20,
    )
    try:
        header = json.loads(done.stdout)["header"]
        return {"cluster": header["cluster_id"], "member": header["member_id"]}
    except (ValueError, KeyError):
        return {}


class Lane:
    """All cases of one group with one etcdctl, one after another, on one pair of servers."""

    def __init__(self, plan, group, version, cases, say):
        self.plan, self.group, self.version = plan, group, version
        self.cases, self.say = cases, say
        self.ctl = plan.ctls[version]
        self.home = f"{plan.home}/{group}-{version}"
        self.pair = None
        self.pairs = 0

    def run(self):
        try:
            return [self._case(case) for case in self.cases]
        finally:
            if self.pair:
                self.pair.destroy()

    def _case(self, case):
        name = f"{case.group}/{self.version}: {case.name}"
        began = time.monotonic()
        if case.only and not self.version.startswith(case.only):
            return Outcome(name, "skipped")
        try:
            pair = self._new_pair(case.server) if case.own_server else self._shared_pair()
        except Exception as error:
            outcome = Outcome(name, "failed", f"no servers: {error}\n")
            self.say(outcome)
            return outcome
        transcripts = both(lambda server: self._side(case, server, pair).run(),
                           pair.left, pair.right)
        outcome = self._judge(name, transcripts)
        outcome.seconds = time.monotonic() - began
        if case.own_server:
            pair.destroy()
        elif outcome.result == "failed" or not (pair.left.alive() and pair.right.alive()):
            pair.destroy()
            self.pair = None
        self.say(outcome)
        return outcome

    def _shared_pair(self):
        if self.pair is None:
            self.pair = self._new_pair(())
        return self.pair

    def _new_pair(self, flags):
        self.pairs += 1
        pair = Pair(self.plan, f"{self.home}/pair{self.pairs}", flags)
        try:
            return pair.start(self.ctl)
        except Exception:
            pair.destroy()
            raise

    def _side(self, case, server, pair):
        tmp = f"{self.home}/tmp/{case.number}-{'etcd' if server is pair.left else 'ours'}"
        masker = Masker(server, pair.ids[server], tmp, case.exact)
        return Side(case, server, self.ctl, masker, tmp, pair.ids[server])

    def _judge(self, name, transcripts):
        left, right = transcripts
        for side, what in (("etcd", left), ("ours", right)):
            if isinstance(what, Exception):
                return Outcome(name, "failed", f"{side}: {type(what).__name__}: {what}\n")
        differences, used = [], []
        for (line, theirs), (_, ours) in zip(left, right, strict=True):
            if not self.plan.ours_is_etcd:
                theirs, rows = known.rewrite(self.plan.etcd_version, line, theirs)
                used += rows
            if theirs != ours:
                differences.append(difference(line, theirs, ours))
        if self.plan.verbose:
            write_transcript(self.plan.verbose, name, left, right)
        if differences:
            return Outcome(name, "failed", "".join(differences), known=used)
        return Outcome(name, "passed", known=used)


def difference(line, theirs, ours):
    diff = difflib.unified_diff(
        theirs.splitlines(), ours.splitlines(), "etcd", "ours", lineterm="", n=2
    )
    return f"    > {line}\n" + "".join(f"      {row}\n" for row in diff)


def write_transcript(folder, name, left, right):
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "".join(c if c.isalnum() else "_" for c in name) + ".txt")
    with open(path, "w") as out:
        for side, entries in (("etcd", left), ("ours", right)):
            out.write(f"=== {side}\n")
            for line, text in entries:
                out.write(f"> {line}\n{text}\n")


def run(plan, cases, lanes_max, say):
    """Runs the cases of every group with every etcdctl; answers all outcomes."""
    groups = {}
    for case in cases:
        groups.setdefault(case.group, []).append(case)
    lanes = [
        Lane(plan, group, version, members, say)
        for group, members in groups.items()
        for version in plan.ctls
    ]
    # Long lanes first, so that the last one to end is a short one.
    lanes.sort(key=lambda lane: -sum(len(case.steps) for case in lane.cases))
    with ThreadPoolExecutor(lanes_max) as pool:
        parts = list(pool.map(Lane.run, lanes))
    return [outcome for part in parts for outcome in part]
