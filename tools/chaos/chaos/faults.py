"""Owns the faults: each breaks a running cluster in one way, says how long writes were not accepted,
and mends it. Groups share a cluster and a history.

Never judges answers: that is done afterwards, from the history. Invariant: a fault leaves the cluster
whole, or raises.
"""

import os
import re
import signal
import time

from load import Violation, check
from members import eventually

from .probe import Probe

ELECTION_SECONDS = 1.0
# From the loss of a leader to the first accepted write: two election timeouts.
FAILOVER_SECONDS_MAX = 2 * ELECTION_SECONDS
END_SECONDS_MAX = 20.0
MIB = 1 << 20


class Scene:
    """A cluster under load with what is needed to break it."""

    def __init__(self, cluster, world, history, options):
        self.cluster, self.world, self.history, self.options = cluster, world, history, options
        self.network, self.random = cluster.network, cluster.random
        self.figures = []
        self.events = 0

    def running(self, seconds):
        time.sleep(seconds)
        self.world.check()

    def whole(self):
        """Everybody is well again."""
        self.cluster.await_ready(self.cluster.members)
        leader = self.cluster.leader()
        if not self.options.is_etcd:
            # etcd reads the two at different moments.
            self.history.role(leader.status())
        self.running(0.3)

    def failover(self, label, breaks, broken, bound=True):
        """Seconds without accepted writes at the members that are not broken."""
        well = self.cluster.others(*broken)
        self.events += 1
        probe = Probe(self.history, well, f"{label}{self.events}")
        probe.warm()
        seconds, member = probe.measure(breaks)
        self.world.check()
        if seconds is None:
            raise Violation(f"{label}: no write was accepted")
        self.figures.append((label, seconds))
        most = FAILOVER_SECONDS_MAX + self.options.slack
        probe.close()
        if bound and not self.options.is_etcd:
            check(seconds <= most, f"{label}: {seconds:.2f} s until {member.name} accepted a write")
        return seconds


def names(members):
    return [member.name for member in members]


# Processes.


def kill_leader(scene):
    """kill -9 of the leader."""
    victim = scene.cluster.leader()
    scene.failover("kill leader", lambda: scene.cluster.kill(victim), [victim])
    scene.running(0.5)
    victim.launch()


def kill_follower(scene):
    """kill -9 of a follower: nobody notices."""
    victim = scene.random.choice(scene.cluster.followers())
    scene.failover("kill follower", lambda: scene.cluster.kill(victim), [victim])
    scene.running(0.5)
    victim.launch()


def kill_majority(scene):
    """kill -9 of a majority, the leader among them; nothing is accepted until one is back."""
    count = len(scene.cluster.members) // 2 + 1
    victims = [scene.cluster.leader(), *scene.cluster.followers()][:count]
    for victim in victims:
        scene.cluster.kill(victim)
    scene.running(1.0)
    # From when a majority runs again.
    last = victims[-1]
    scene.failover("majority back", last.launch, victims, bound=False)
    for victim in victims[:-1]:
        victim.launch()


def kill_all(scene):
    """kill -9 of everybody at once."""
    for member in scene.cluster.members:
        member.process.kill()
    for member in scene.cluster.members:
        member.process.wait()
    scene.running(0.3)
    for member in scene.cluster.members:
        member.launch()


def stop_leader(scene):
    """SIGSTOP of the leader; it wakes when another leads."""
    victim = scene.cluster.leader()
    scene.failover("stop leader", lambda: victim.signal(signal.SIGSTOP), [victim])
    scene.running(scene.random.uniform(0.2, 2.0))
    victim.signal(signal.SIGCONT)


def stop_follower(scene):
    """SIGSTOP of a follower for longer than an election takes; it does not depose anybody."""
    leader = scene.cluster.leader()
    victim = scene.random.choice(scene.cluster.others(leader))
    term = leader.status().raftTerm
    victim.signal(signal.SIGSTOP)
    scene.running(scene.random.uniform(2.0, 3.0))
    victim.signal(signal.SIGCONT)
    scene.running(1.5)
    if scene.options.slack == 0:
        check(leader.status().raftTerm == term, f"{victim.name} deposed {leader.name} as it woke")


def restart_all(scene):
    """SIGTERM, start and readiness of one member after the other, the leader last."""
    leader = scene.cluster.leader()
    for victim in [*scene.cluster.others(leader), leader]:
        if victim is leader:
            scene.failover("rolling restart of the leader",
                           lambda: victim.signal(signal.SIGTERM), [victim])
        else:
            victim.signal(signal.SIGTERM)
        victim.stop()
        victim.launch()
        scene.cluster.await_ready([victim])


# Network.


def part_leader(scene):
    """The leader hears no other member, and none hears it; clients reach everybody."""
    victim = scene.cluster.leader()
    others = names(scene.cluster.others(victim))
    scene.failover("leader alone", lambda: scene.network.cut([victim.name], others), [victim])
    scene.running(scene.random.uniform(0.5, 2.0))
    scene.network.heal()


def part_follower(scene):
    """A follower alone; when it comes back it deposes nobody."""
    leader = scene.cluster.leader()
    victim = scene.random.choice(scene.cluster.others(leader))
    others = names(scene.cluster.others(victim))
    term = leader.status().raftTerm
    scene.failover("follower alone", lambda: scene.network.cut([victim.name], others), [victim])
    scene.running(scene.random.uniform(2.0, 3.5))
    scene.network.heal()
    scene.running(2.0)
    if scene.options.slack == 0:
        check(leader.status().raftTerm == term, f"{victim.name} deposed {leader.name}")


def split(scene):
    """The leader with a minority on one side, the others on the other one."""
    leader = scene.cluster.leader()
    minority = len(scene.cluster.members) // 2
    few = [leader, *scene.cluster.others(leader)[:minority - 1]]
    many = scene.cluster.others(*few)
    scene.failover("split", lambda: scene.network.cut(names(few), names(many)), few)
    scene.running(scene.random.uniform(0.5, 2.0))
    scene.network.heal()


def mute_leader(scene):
    """One way: what the leader says does not arrive, it hears the others."""
    victim = scene.cluster.leader()
    others = names(scene.cluster.others(victim))
    scene.failover("leader mute", lambda: scene.network.cut([victim.name], others, both=False),
                   [victim])
    scene.running(scene.random.uniform(0.5, 1.5))
    scene.network.heal()


def deafen_leader(scene):
    """One way: the leader hears nobody, its heartbeats arrive; it must step down by itself."""
    victim = scene.cluster.leader()
    others = names(scene.cluster.others(victim))
    scene.failover("leader deaf", lambda: scene.network.cut(others, [victim.name], both=False),
                   [victim], bound=False)
    scene.running(scene.random.uniform(0.5, 1.5))
    scene.network.heal()


def bridge(scene):
    """Two halves that meet in one member only; there is a leader that a majority hears."""
    leader = scene.cluster.leader()
    rest = scene.cluster.others(leader)
    middle, rest = rest[0], rest[1:]
    half = len(rest) // 2
    one, other = [leader, *rest[:half]], rest[half:]
    scene.failover("bridge", lambda: scene.network.cut(names(one), names(other)), one, bound=False)
    scene.running(2.0)
    check(middle.alive(), f"{middle.name} ended")
    scene.network.heal()


def slow_links(scene):
    """All links between members are late by 30 to 60 ms: writes go on, nobody is deposed."""
    _bad_links(scene, "late links", delay_ms=30, jitter_ms=30)


def lossy_links(scene):
    """All links between members lose 3 % of all frames."""
    _bad_links(scene, "lossy links", delay_ms=2, jitter_ms=2, loss_percent=3)


def thin_links(scene):
    """All links between members carry 200 KB/s."""
    _bad_links(scene, "thin links", bytes_per_s=200_000)


def _bad_links(scene, label, **what):
    leader = scene.cluster.leader()
    term = leader.status().raftTerm
    everybody = names(scene.cluster.members)
    scene.failover(label, lambda: scene.network.shape(everybody, **what), [], bound=False)
    before = scene.history.highest
    scene.running(3.0)
    check(before < scene.history.highest, f"{label}: nothing is written any more")
    if scene.options.slack == 0:
        check(leader.status().raftTerm == term, f"{label}: the leader changed")
    scene.network.heal()


# Disks.

FULL = re.compile("no space left|No space left")


def full_follower(scene):
    """A follower's disk is full: it stops and says so; with room it comes back."""
    leader = scene.cluster.leader()
    _fill_disk(scene, scene.random.choice(scene.cluster.others(leader)))


def full_leader(scene):
    """The leader's disk is full: it stops and says so, another leads; with room it comes back."""
    _fill_disk(scene, scene.cluster.leader())


def _fill_disk(scene, victim):
    victim.disk.fill()
    scene.events += 1
    label = f"full{scene.events}"
    began = time.monotonic()
    # The log is made ahead of time: it takes more than what is there to need more room.
    value = os.urandom(MIB // 2).hex().encode()
    writers = [member for member in scene.cluster.members if member is not victim]
    put = 0
    while victim.alive() and time.monotonic() - began < END_SECONDS_MAX * 3:
        put += 1
        _put_large(scene, writers[put % len(writers)], f"{label}/{put % 2}", value)
    check(not victim.alive(), f"{victim.name} goes on with a full disk after {put} MiB")
    said = victim.log()
    check(FULL.search(said), f"{victim.name} ended without saying why: {victim.log_tail()}")
    status = victim.process.wait()
    check(scene.options.is_etcd or status == 1, f"{victim.name} ended with {status}")
    # It does not start either, and says so.
    scene.running(0.5)
    victim.disk.free()
    victim.launch()


def _put_large(scene, member, key, value):
    from interop import pb
    request = pb.message("PutRequest", key=key.encode(), value=value)
    called = scene.history.moment()
    try:
        reply = member.ask("KV/Put", request, timeout=10)
    except pb.Failed as failed:
        scene.history.op(member.number, "KV/Put", request, called, failed=failed)
        return
    scene.history.op(member.number, "KV/Put", request, called, reply=reply)


def stuck_follower(scene):
    """A follower's disk does not answer for a while; nobody else notices."""
    leader = scene.cluster.leader()
    victim = scene.random.choice(scene.cluster.others(leader))
    scene.failover("follower's disk stuck", victim.disk.freeze, [victim])
    scene.running(3.0)
    victim.disk.thaw()


def stuck_leader(scene):
    """The leader's disk does not answer: it hands over within two election timeouts."""
    victim = scene.cluster.leader()
    scene.failover("leader's disk stuck", victim.disk.freeze, [victim], bound=False)

    def another():
        one = scene.cluster.others(victim)[0].status()
        return one.leader not in (0, victim.status().header.member_id)

    began = time.monotonic()
    if not scene.options.is_etcd:
        eventually("another leads", FAILOVER_SECONDS_MAX + scene.options.slack, another)
        scene.figures.append(("another leads instead of a stuck one", time.monotonic() - began))
    scene.running(2.0)
    victim.disk.thaw()


GROUPS = {
    "kills": [kill_leader, kill_follower, kill_majority, kill_all],
    "pauses": [stop_leader, stop_follower, restart_all],
    "parts": [part_leader, part_follower, split, mute_leader, deafen_leader, bridge],
    "links": [slow_links, thin_links, lossy_links],
    "disks": [stuck_follower, stuck_leader, full_follower, full_leader],
}
