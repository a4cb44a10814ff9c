"""Owns a cluster of real processes: its members, how they are started, and what they must agree on.

Never puts load on it. Invariant: a member keeps its name, its place and its data directory for as
long as the cluster lives, however often its process ends.
"""

import itertools
import os
import random
import re
import shutil
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "interop"))
sys.path.insert(0, HERE)

from interop import pb, peers  # noqa: E402
from load import Violation, check  # noqa: E402

# Ends the wait for what never comes. No claim of speed: a busy machine may take most of it.
SETTLE_SECONDS_MAX = 120.0
NEVER = re.compile("data or disk cannot be trusted|panicked|\"level\":\"panic\"")


class Member(peers.Server):
    """One member: a server whose peer URL the others know."""

    def __init__(self, cluster, name, home):
        super().__init__(cluster.binary, home)
        self.cluster = cluster
        self.name = name
        if cluster.ports:
            self.port, self.peer_port = next(cluster.ports), next(cluster.ports)
        self.data = f"{home}/data"
        self.state = "new"
        self.initial = None
        self.flags = []

    @property
    def peer_url(self):
        return f"http://{self.host}:{self.peer_port}"

    def command(self):
        initial = self.initial or ",".join(
            f"{member.name}={member.peer_url}" for member in self.cluster.founders)
        return [
            self.binary,
            f"--name={self.name}",
            f"--data-dir={self.data}",
            f"--listen-client-urls=http://{self.host}:{self.port}",
            f"--advertise-client-urls=http://{self.host}:{self.port}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster={initial}",
            f"--initial-cluster-state={self.state}",
            "--initial-cluster-token=cluster-laws",
            *self.cluster.flags,
            *self.flags,
        ]

    def api(self):
        return pb.Api(self.endpoint)

    def ask(self, method, message=None, timeout=3):
        api = self.api()
        try:
            return api.call(method, message or pb.message(method.split("/")[1] + "Request"), timeout)
        finally:
            api.close()

    def status(self):
        return self.ask("Maintenance/Status", pb.message("StatusRequest"))

    def log(self):
        text = ""
        for start in range(1, self.starts + 1):
            with open(f"{self.home}/log.{start}", errors="replace") as log:
                text += log.read()
        return text


def eventually(what, seconds, condition):
    """The first true answer; errors of calls count as no."""
    deadline = time.monotonic() + seconds
    why = "not yet"
    while time.monotonic() < deadline:
        try:
            answer = condition()
            if answer:
                return answer
        except (pb.Failed, OSError) as failed:
            why = str(failed)
        time.sleep(0.02)
    raise Violation(f"{what}: not within {seconds:.0f} s ({why})")


class Cluster:
    """Some members, and what they must agree on."""

    def __init__(self, options, size, kind=Member):
        self.binary = peers.distro_bin("etcd") if options.server == "etcd" else options.server
        self.binary = os.path.abspath(self.binary)
        self.flags = list(options.flag)
        self.is_ours = options.server != "etcd"
        self.random = random.Random(options.seed)
        self.ports = itertools.count(options.first_port) if options.first_port else None
        self.home = tempfile.mkdtemp(prefix=options.prefix, dir=options.data_root)
        self.founders = []
        for number in range(1, size + 1):
            self.founders.append(kind(self, f"m{number}", f"{self.home}/m{number}"))
        self.members = list(self.founders)
        self.options = options

    def sister(self, flags):
        """Another cluster of three, with these flags besides."""
        sister = Cluster(self.options, 3)
        sister.flags += flags
        return sister

    def start(self):
        for member in self.members:
            member.launch()
        self.await_ready(self.members)
        return self

    def await_ready(self, members):
        for member in members:
            def ready(member=member):
                check(member.alive(), f"{member.name} ended: {member.log_tail()}")
                return member.http("GET", "/health", timeout=3.0)[0] == 200
            eventually(f"{member.name} is healthy", SETTLE_SECONDS_MAX, ready)

    def living(self):
        return [member for member in self.members if member.alive()]

    def leader(self):
        """The one that all living members name."""
        def agreed():
            leaders = {member.status().leader for member in self.living()}
            by_id = {member.status().header.member_id: member for member in self.living()}
            return by_id.get(leaders.pop()) if len(leaders) == 1 else None
        return eventually("all name one living leader", SETTLE_SECONDS_MAX, agreed)

    def followers(self):
        leader = self.leader()
        return [member for member in self.living() if member is not leader]

    def member_list(self, member):
        reply = member.ask("Cluster/MemberList", pb.message("MemberListRequest", linearizable=True))
        return sorted((one.ID, one.name, tuple(one.peerURLs), tuple(one.clientURLs), one.isLearner)
                      for one in reply.members)

    def check_lists(self):
        lists = {member.name: self.member_list(member) for member in self.living()}
        first = next(iter(lists.values()))
        check(all(one == first for one in lists.values()), f"member lists differ: {lists}")
        return first

    def check_hashes(self):
        """Every member computes the same hash at the same revision."""
        read = pb.message("RangeRequest", key=b"\0", range_end=b"\0", count_only=True)
        heads = [member.ask("KV/Range", read).header.revision for member in self.living()]
        ask = pb.message("HashKVRequest", revision=min(heads))
        hashes = {member.name: member.ask("Maintenance/HashKV", ask, timeout=20).hash
                  for member in self.living()}
        check(len(set(hashes.values())) == 1, f"hashes at revision {min(heads)}: {hashes}")

    def check_logs(self):
        for member in self.members:
            found = NEVER.search(member.log())
            check(found is None, f"{member.name} says {found and found.group(0)}")

    def check_all(self, load):
        """Everything that must hold when the cluster is whole."""
        self.await_ready(self.members)
        self.check_lists()
        load.verify([member.endpoint for member in self.members])
        self.check_hashes()
        self.check_logs()

    def kill(self, member):
        member.process.kill()
        member.process.wait()

    def destroy(self):
        for member in self.members:
            member.destroy()
        shutil.rmtree(self.home, ignore_errors=True)
