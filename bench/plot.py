#!/usr/bin/env python3
"""Draws what the benchmarks kept with `--json`: every sample as a point, the median as a
diamond, etcd beside ours, on a logarithmic scale because they differ by so much.

    bench/plot.py FILE.json --out docs/figures/requests.svg --figure cpu_us \\
        --title "server CPU per request, us"
    bench/plot.py FILE.json --out docs/figures/large.svg --only "million:restart s,wide:range MB/s"

Several files are drawn as one. Needs matplotlib.
"""

import argparse
import json
import statistics

import matplotlib

matplotlib.use("svg")
# Text stays text, and the same samples give the same file.
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "ringleader", "font.size": 9})

from matplotlib import pyplot  # noqa: E402

COLOURS = {"etcd": "#8d99ae", "ringleader": "#d1495b"}
GAP = 0.38


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--out", required=True, help="an SVG file")
    parser.add_argument("--title", default="")
    parser.add_argument("--figure", help="this figure of every row")
    parser.add_argument("--only", default="", help="`row:figure`, separated by commas")
    return parser.parse_args()


def read(files, wanted, figure):
    """Samples by row and figure, then by server, in the order of the files."""
    found = {}
    for file in files:
        with open(file) as opened:
            for one in json.load(opened)["samples"]:
                name = f"{one['row']}:{one['figure']}"
                if name in wanted or (not wanted and figure in (None, one["figure"])):
                    label = one["row"] if figure else f"{one['row']}: {one['figure']}"
                    found.setdefault(label, {})[one["server"]] = one["values"]
    return found


def draw(found, title):
    servers = [name for name in COLOURS if any(name in got for got in found.values())]
    figure, axes = pyplot.subplots(figsize=(7.5, 0.9 + 0.52 * len(found)))
    for at, got in enumerate(found.values()):
        for number, name in enumerate(servers):
            y, values = at + (number - (len(servers) - 1) / 2) * GAP, got.get(name, [])
            if not values:
                continue
            middle = statistics.median(values)
            axes.plot(values, [y] * len(values), ".", color=COLOURS[name], markersize=5)
            axes.plot(middle, y, "D", color=COLOURS[name], label=name if at == 0 else None)
            axes.annotate(f"{middle:.3g}", (max(values), y), (8, 0),
                          textcoords="offset points", va="center")
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.grid(axis="x", which="both", linewidth=0.3)
    axes.margins(x=0.12)
    axes.set_title(title)
    axes.legend(loc="best", frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    return figure


def main():
    options = arguments()
    wanted = [name for name in options.only.split(",") if name]
    found = read(options.files, wanted, options.figure)
    if not found:
        raise SystemExit("plot: the files hold no such figure")
    draw(found, options.title).savefig(options.out, metadata={"Date": None})


if __name__ == "__main__":
    main()
