"""Owns one cluster and its operator: starts and ends members, calls the tools, writes down what was
seen.

Never compares. Invariant: one entry of the transcript for each step, in order; nothing that the
operator did not see is in it.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time

from interop import pb

from . import looks, readiness
from .masks import Masks
from .member import Member
from .waits import SERVING_SECONDS_MAX, until

TOKEN = "procedures"
END_SECONDS_MAX = 30
COMMAND_SECONDS_MAX = 40
KEYS = 12


class Operator:
    """What a procedure is given. Members are called m1, m2, ... and named on first use."""

    def __init__(self, binary, home, ports, ctls, restorer):
        self.binary, self.home, self.ports = binary, home, ports
        self.ctls, self.restorer = ctls, restorer
        self.members, self.entries, self.failure = {}, [], ""
        self.times, self.began = [], time.monotonic()
        self.masks = Masks(home)
        self.written = 0
        # Who is to lead whenever it matters to what is seen; the first that runs if None.
        self.leader = None
        os.makedirs(home, exist_ok=True)

    # What is written down.

    def note(self, line, text):
        self.entries.append((line, text))
        self.times.append(time.monotonic() - self.began)

    def forget(self, mark):
        """Takes back what was written down after the first `mark` entries."""
        del self.entries[mark:], self.times[mark:]

    def timed(self):
        """The entries with the seconds since the beginning, which nobody compares."""
        return [(f"[{seconds:.1f}] {line}", text)
                for seconds, (line, text) in zip(self.times, self.entries, strict=True)]

    def ctl(self, *words, at=("m1",), version="3.5", until_not=None):
        """One call of etcdctl. `until_not`: it is called again while it says that."""
        at = [at] if isinstance(at, str) else at
        run = self._ctl(words, at, version)
        if until_not:
            def accepted():
                nonlocal run
                if until_not in run.stderr:
                    run = self._ctl(words, at, version)
                return until_not not in run.stderr
            until(f"`{' '.join(words)}` is not refused with `{until_not}`", 30, accepted)
        if words[:2] == ("member", "add"):
            self._draw(words[2], run.stdout)
        shown = " ".join(self.masks.text(word) for word in words)
        self.note(f"etcdctl {version} at {','.join(at)}: {shown}", self._seen(words, run))
        return run.stdout

    def _ctl(self, words, at, version):
        endpoints = ",".join(self.member(name).endpoint for name in at)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
        return subprocess.run(
            [self.ctls[version], f"--endpoints={endpoints}", *words],
            capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX, cwd=self.home,
            env={**environment, "ETCDCTL_API": "3"},
        )

    def _draw(self, name, printed):
        found = re.search(r"Member +([0-9a-f]+) added", printed)
        if found:
            number = int(found.group(1), 16)
        elif printed.startswith("{"):
            number = json.loads(printed)["member"]["ID"]
        else:
            return
        self.member(name).identity = number
        self.masks.draw(number, name)

    def _seen(self, words, run):
        text = f"exit {run.returncode}\n"
        for name, part in (("out", run.stdout), ("err", run.stderr)):
            lines = self.masks.output(words, part).splitlines() if part.strip() else []
            text += "".join(f"{name}| {line}\n" for line in lines)
        return text

    def pages(self, name):
        """The pages that scripts ask, of both ports."""
        member = self.member(name)
        for port, path in ((member.port, "/health"), (member.port, "/version"),
                           (member.peer_port, "/version"), (member.peer_port, "/members")):
            which = "peer" if port == member.peer_port else "client"
            try:
                status, fields, text = member.page(port, path)
                kind = fields.get("Content-Type", fields.get("content-type", ""))
                mask = self.masks.members_page if path == "/members" else self.masks.text
                text = f"status {status}\ncontent-type: {kind}\n{mask(text)}"
            except OSError as error:
                text = f"no answer: {type(error).__name__}\n"
            self.note(f"GET {path} of {name}'s {which} port", text)

    # Members.

    def member(self, name):
        """The member, made at its first mention."""
        if name not in self.members:
            member = Member(self.binary, self.home, name, self.ports[name])
            self.members[name] = member
            self.masks.place(member)
        return self.members[name]

    def running(self):
        return [name for name, member in self.members.items() if member.alive()]

    def statuses(self):
        return {name: self.members[name].status() for name in self.running()}

    def found(self, size, flags=()):
        """A cluster of new members, with something written."""
        founders = [self.member(f"m{number}") for number in range(1, size + 1)]
        for member in founders:
            member.extra = list(flags)
            member.found(founders, TOKEN)
            member.launch()
        self.settle()
        self.write()

    def start(self, *names):
        """Starts members again, or for the first time, all at once, and waits until they serve."""
        for name in names:
            self.member(name).launch()
        self.settle()

    def join(self, name, printed, **changed):
        """Starts a member with the environment that `member add` printed."""
        member = self.member(name)
        told = dict(re.findall(r'^(ETCD_\w+)="(.*)"$', printed, re.M))
        assert told, f"no environment in {printed!r}"
        member.environment = {**told, "ETCD_INITIAL_CLUSTER_TOKEN": TOKEN, **changed}
        return member

    def add(self, name, *flags, at="m1", version="3.5"):
        """`member add`, accepted once the cluster has been whole for a while."""
        return self.ctl("member", "add", name, f"--peer-urls={self.member(name).peer_url}",
                        *flags, at=at, version=version, until_not="unhealthy cluster")

    def remove(self, name, at="m1"):
        return self.ctl("member", "remove", self.id(name), at=at, until_not="unhealthy cluster")

    def id(self, name):
        """A member's id in hex, as tools want it: drawn when it was added, else by the list."""
        member = self.member(name)
        if member.identity is None:
            asked = self.members[self.running()[0]]
            request = pb.message("MemberListRequest", linearizable=False)
            for one in asked.ask("Cluster/MemberList", request).members:
                if list(one.peerURLs) == [member.peer_url]:
                    member.identity = one.ID
        assert member.identity, f"nobody knows {name}"
        return f"{member.identity:x}"

    def kill(self, *names):
        """kill -9."""
        for name in names:
            self.id(name)
        for name in names:
            self.members[name].process.kill()
        for name in names:
            self.members[name].process.wait()

    def stop(self, name):
        """SIGTERM; the status is part of what is seen."""
        self.id(name)
        status = self.members[name].stop(signal.SIGTERM)
        self.note(f"SIGTERM to {name}", f"ended with {status}\n")

    def wipe(self, name):
        shutil.rmtree(self.members[name].data)

    def ends(self, name, step):
        """The member ends by itself: how, and what its log tells."""
        member = self.members[name]
        until(f"{name} ends: {step}", END_SECONDS_MAX, lambda: not member.alive())
        words = [self.masks.text(line) for line in member.last_words()]
        self.note(f"{name} ends: {step}", "\n".join([f"exit {member.stop()}", *words]) + "\n")

    def refused(self, name, step):
        """A start that must not succeed."""
        self.members[name].launch()
        self.ends(name, step)

    def restore(self, name, file):
        """A new data directory from a snapshot; the restoring tool is each side's own."""
        member = self.members[name]
        founders = ",".join(f"{one.name}={one.peer_url}" for one in self.members.values())
        run = subprocess.run(
            [self.restorer, "snapshot", "restore", file, f"--name={name}",
             f"--data-dir={member.data}", f"--initial-cluster={founders}",
             f"--initial-cluster-token={TOKEN}",
             f"--initial-advertise-peer-urls={member.peer_url}"],
            capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX, cwd=self.home,
        )
        self.note(f"snapshot restore for {name}", f"exit {run.returncode}\n")

    def swap_data(self, name, aside):
        """Puts the member's data aside, or back if it is there."""
        data = self.members[name].data
        os.rename(*((aside, data) if os.path.exists(aside) else (data, aside)))

    def starts_alone(self, name, told):
        """A start that never becomes part of the cluster; the log says this."""
        member = self.members[name]
        member.launch()
        until(f"{name} says `{told}`", SERVING_SECONDS_MAX, lambda: told in member.log_text())
        self.note(f"{name} starts", f"told: {told}\n")

    def loses_its_leader(self, name):
        until(f"{name} has no leader", 20, lambda: self.members[name].status().leader == 0)

    def misses(self, name, peer):
        """Until the member counts its peer as gone, as its metrics show."""
        member = self.members[name]
        gauge = re.compile(rf'^etcd_network_active_peers{{.*Remote="{self.id(peer)}".*}} 0$', re.M)
        until(f"{name} misses {peer}", 20,
              lambda: gauge.search(member.page(member.port, "/metrics")[2]))

    def settle(self):
        """What must be so before anything is looked at."""
        readiness.settle(self)

    # Keys.

    def write(self):
        """Some keys more, by any member."""
        self.settle()
        names = self.running()
        for _ in range(KEYS):
            self.written += 1
            key, value = f"k/{self.written:04}".encode(), f"value {self.written}".encode() * 40
            put = pb.message("PutRequest", key=key, value=value)
            member = self.members[names[self.written % len(names)]]
            if member.status().isLearner:
                member = self.members[names[0]]
            member.ask("KV/Put", put, timeout=10)

    def read(self):
        """Everything that was written is on every member, in both kinds of reads."""
        self.settle()
        expected = [f"k/{number:04}" for number in range(1, self.written + 1)]
        for name in self.running():
            for kind in ("l", "s"):
                text = self.ctl("get", "k/", "--prefix", f"--consistency={kind}", at=name)
                learns = self.members[name].status().isLearner
                if not (learns and kind == "l"):
                    keys = re.findall(r"^k/\d+$", text, re.M)
                    assert keys == expected, f"{name}: {len(keys)} keys, wrote {self.written}"

    def look(self, **kinds):
        looks.look(self, **kinds)

    def finish(self):
        """What ends every procedure: writes go on, and everything is everywhere."""
        self.write()
        self.look(whole=True, pages=True)
        self.read()

    # The end.

    def last_logs(self):
        """The ends of all logs, for a procedure that failed."""
        return "".join(f"\n      {name}: {line.get('msg')} {line.get('error', '')}"
                       for name, member in self.members.items() if member.starts
                       for line in list(member.log_lines())[-3:])

    def end(self):
        for member in self.members.values():
            member.stop(signal.SIGKILL)
