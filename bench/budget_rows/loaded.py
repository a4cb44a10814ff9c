"""Owns the row about latency under load: puts meant for fixed times, at a share of what the server
could do, so that a stall is seen by all who would have come meanwhile.

Invariant: one failed request ends the measurement.
"""

import json
import os
import subprocess
import tempfile

SHARE = 0.7
PEAK_SECONDS, SHARE_SECONDS = 6, 12


def at_seventy_percent(server, options):
    """What the server can do with 1,000 clients on 10 connections, and p99 at 70 % of that."""
    peak = _puts(server, options, PEAK_SECONDS, [])
    rate = SHARE * peak["rate"]
    calm = _puts(server, options, SHARE_SECONDS, [f"--rate={rate:.0f}", "--arrivals=poisson"])
    return {
        "peak puts/s": peak["rate"],
        "p50 ms at 70 %": calm["latency"]["p50_ns"] / 1e6,
        "p99 ms at 70 %": calm["latency"]["p99_ns"] / 1e6,
        "p99.9 ms at 70 %": calm["latency"]["p99_9_ns"] / 1e6,
    }


def _puts(server, options, seconds, more):
    with tempfile.TemporaryDirectory(prefix="budgets-loaded-") as tmp:
        kept = os.path.join(tmp, "put.json")
        subprocess.run(
            [options.ringbench, "put", f"--endpoints={server.endpoint}", "--val-size=256",
             "--key-space-size=100000", "--conns=10", "--clients=1000", "--warm-up=2s",
             f"--duration={seconds}s", f"--cpus={options.load_core}", f"--json={kept}", *more],
            stdout=subprocess.DEVNULL, check=True, timeout=120,
        )
        with open(kept) as file:
            found = json.load(file)
    series = found["series"][0]
    if series["failed"]:
        raise SystemExit(f"{server.name}: {series['failed']} puts failed: {series['failures']}")
    return series
