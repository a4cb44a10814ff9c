"""Owns the rows about puts beside other work: defragmentation, compaction, wide ranges.

Each row is a function from a started, empty server to figures by name. Invariant: the other work
lasted while the puts were measured, or both are repeated until enough puts were.
"""

import threading

from interop import pb

from .large import ranges
from .load import Probe, fill, percentile, prefix_end

IDLE_PUTS = 6_000
BESIDE_PUTS = 6_000
PREFIX = b"beside/"
BYTES = 1024
DEFRAGMENTED_KEYS = 550_000
COMPACTED_KEYS, COMPACTED_ROUNDS = 3_000, 100
RANGED_KEYS = 290_000
RANGING_CLIENTS = 4


def told(latencies, name):
    """Median, tail and worst in milliseconds."""
    return {
        f"{name} p50 ms": percentile(latencies, 0.5) / 1e3,
        f"{name} p99 ms": percentile(latencies, 0.99) / 1e3,
        f"{name} max ms": latencies[-1] / 1e3,
    }


def beside(server, options, work):
    """Puts alone, then puts while `work(keep_on)` runs in a thread of its own."""
    core = options.load_core
    figures = told(Probe(server, core, options.scaled(IDLE_PUTS)).latencies_us(), "idle")
    probe = Probe(server, core, options.scaled(BESIDE_PUTS))
    failed = []

    def thread():
        try:
            work(probe.running)
        except (pb.Failed, SystemExit) as failure:
            failed.append(failure)

    worker = threading.Thread(target=thread)
    worker.start()
    latencies = probe.latencies_us()
    worker.join()
    if failed:
        raise SystemExit(f"{server.name}: {failed[0]}")
    figures |= told(latencies, "beside")
    return figures | {"p99 ratio": figures["beside p99 ms"] / figures["idle p99 ms"]}


def defragment(server, options):
    """While another client defragments, again and again."""
    fill(server, PREFIX, options.scaled(DEFRAGMENTED_KEYS), BYTES)

    def work(keep_on):
        while keep_on():
            asked = pb.message("DefragmentRequest")
            server.api.call("Maintenance/Defragment", asked, timeout=120)

    return beside(server, options, work)


def compaction(server, options):
    """While many revisions are compacted, physically, piece by piece."""
    keys = options.scaled(COMPACTED_KEYS)
    fill(server, PREFIX, keys, BYTES, rounds=COMPACTED_ROUNDS)
    # An empty transaction tells the revision.
    newest = server.api.call("KV/Range", pb.message("RangeRequest", key=b"none")).header.revision
    pieces = 4

    def work(keep_on):
        for piece in range(1, pieces + 1):
            if not keep_on():
                return
            asked = pb.message("CompactionRequest", revision=newest * piece // pieces,
                               physical=True)
            server.api.call("KV/Compact", asked, timeout=120)

    return beside(server, options, work)


def unpaged(server, options):
    """While four clients read everything, unpaged, again and again."""
    fill(server, PREFIX, options.scaled(RANGED_KEYS), BYTES)
    asked = pb.message("RangeRequest", key=PREFIX, range_end=prefix_end(PREFIX))

    def work(keep_on):
        def client():
            while keep_on():
                ranges(server, asked, 1, options.load_core)

        clients = [threading.Thread(target=client) for _ in range(RANGING_CLIENTS)]
        for one in clients:
            one.start()
        for one in clients:
            one.join()

    figures = beside(server, options, work)
    return figures | {"resident peak MiB": server.memory_peak_mib()}
