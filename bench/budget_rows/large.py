"""Owns the rows about large stores: a million keys in memory, at rest, counted, paged; wide ranges.

Each row is a function from a started, empty server to figures by name. Invariant: what a server
answered is checked before its time counts.
"""

import re
import subprocess
import tempfile
import time

from interop import pb

from .load import VALUE_BYTES, fill, prefix_end

MANY = 1_000_000
PREFIX = b"many/"
PAGED = 100_000
PAGE = 500
COUNTS = 20
WIDE_PREFIX = b"wide/"
WIDE_KEYS, WIDE_BYTES = 100_000, 1024
WIDE_RANGES = 8


def million(server, options):
    """Memory, counting, paging and restart with many keys."""
    count = options.scaled(MANY)
    began, cpu = time.monotonic(), server.cpu_seconds()
    fill(server, PREFIX, count, VALUE_BYTES)
    figures = {
        "fill s": time.monotonic() - began,
        "fill CPU us a key": (server.cpu_seconds() - cpu) / count * 1e6,
        "resident MiB": server.memory_mib(),
        "count_only ms": _count(server, count),
        **_paging(server, options.scaled(PAGED)),
    }
    server.hang_up()
    server.stop()
    figures["restart s"] = server.start_timed()
    figures["resident after restart MiB"] = server.memory_mib()
    _count(server, count)
    return figures


def _count(server, count):
    asked = pb.message("RangeRequest", key=PREFIX, range_end=prefix_end(PREFIX), count_only=True)
    took = []
    for _ in range(COUNTS):
        began = time.monotonic()
        counted = server.api.call("KV/Range", asked, timeout=60).count
        took.append(time.monotonic() - began)
        if counted != count:
            raise SystemExit(f"{server.name} counts {counted} of {count}")
    return sorted(took)[COUNTS // 2] * 1e3


def _paging(server, wanted):
    key, end, seen = PREFIX, prefix_end(PREFIX), 0
    began, cpu = time.monotonic(), server.cpu_seconds()
    while seen < wanted:
        asked = pb.message("RangeRequest", key=key, range_end=end, limit=PAGE)
        page = server.api.call("KV/Range", asked, timeout=60)
        seen += len(page.kvs)
        if len(page.kvs) != PAGE:
            raise SystemExit(f"{server.name}: a page of {len(page.kvs)}")
        key = page.kvs[-1].key + b"\0"
    return {
        "paging s": time.monotonic() - began,
        "paging CPU us a key": (server.cpu_seconds() - cpu) / seen * 1e6,
    }


def wide(server, options):
    """Bytes a second of a range over everything."""
    count = options.scaled(WIDE_KEYS)
    fill(server, WIDE_PREFIX, count, WIDE_BYTES)
    asked = pb.message("RangeRequest", key=WIDE_PREFIX, range_end=prefix_end(WIDE_PREFIX))
    cpu = server.cpu_seconds()
    seconds, data = ranges(server, asked, WIDE_RANGES, options.load_core)
    if data < WIDE_RANGES * count * WIDE_BYTES:
        raise SystemExit(f"{server.name}: {data} bytes for {WIDE_RANGES} ranges")
    return {
        "range MB/s": data / seconds / 1e6,
        "range CPU ms a MB": (server.cpu_seconds() - cpu) * 1e3 / (data / 1e6),
        "resident peak MiB": server.memory_peak_mib(),
    }


def ranges(server, asked, count, core):
    """The same range so many times, one after another: seconds, and bytes of messages."""
    with tempfile.TemporaryDirectory(prefix="budgets-range-") as tmp:
        body = asked.SerializeToString()
        with open(f"{tmp}/body", "wb") as file:
            file.write(b"\0" + len(body).to_bytes(4, "big") + body)
        done = subprocess.run(
            ["taskset", "-c", str(core), "h2load", f"-n{count}", "-c1", "-m1", "-t1", "-w30", "-W30",
             f"-d{tmp}/body", "-H", "content-type: application/grpc", "-H", "te: trailers",
             f"http://{server.endpoint}/etcdserverpb.KV/Range"],
            capture_output=True, text=True, timeout=600, check=True,
        )
    finished = re.search(r"finished in ([\d.]+)(ms|s|us)", done.stdout)
    scale = {"us": 1e-6, "ms": 1e-3, "s": 1}[finished.group(2)]
    if f"status codes: {count} 2xx" not in done.stdout:
        raise SystemExit(f"{server.name}: ranges failed\n{done.stdout}")
    data = int(re.search(r"\((\d+)\) data", done.stdout).group(1))
    return float(finished.group(1)) * scale, data
