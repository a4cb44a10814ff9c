"""Owns what is asked of a server while it is measured: many keys at once, puts one after another,
watchers, clients that never read.

Never measures the server itself. Invariant: a request that failed ends the run.
"""

import socket
import struct
import subprocess
import tempfile
import threading

from interop import pb

KEYS_PER_TXN = 500
TXNS_IN_FLIGHT = 8
PROBE_KEY = b"probe/key"
VALUE_BYTES = 256


def value_of(number, size):
    """Bytes that do not compress to nothing, the same for both servers."""
    seed = number.to_bytes(8, "big")
    return (seed * (size // 8 + 1))[:size]


def fill(server, prefix, count, size, rounds=1):
    """Puts `count` keys of that prefix, `rounds` times over, many in each transaction."""
    begun = [(number, first) for number in range(rounds) for first in range(0, count, KEYS_PER_TXN)]
    work, lock, failed = iter(begun), threading.Lock(), []

    def worker():
        while not failed:
            with lock:
                at = next(work, None)
            if at is None:
                return
            try:
                put_all(server.api, prefix, range(at[1], min(at[1] + KEYS_PER_TXN, count)), size)
            except pb.Failed as failure:
                failed.append(failure)

    workers = [threading.Thread(target=worker) for _ in range(TXNS_IN_FLIGHT)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    if failed:
        raise SystemExit(f"{server.name}: {failed[0]}")


def put_all(api, prefix, numbers, size):
    """One transaction."""
    puts = [
        pb.message("RequestOp", request_put=pb.message(
            "PutRequest", key=prefix + b"%08d" % number, value=value_of(number, size)))
        for number in numbers
    ]
    api.call("KV/Txn", pb.message("TxnRequest", success=puts), timeout=120)


def prefix_end(prefix):
    """The key after all that begin with it."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


class Probe:
    """Puts of 256 B, one after another, by h2load on the other core; every latency is kept."""

    def __init__(self, server, core, count):
        self.tmp = tempfile.TemporaryDirectory(prefix="budgets-probe-")
        put = pb.message("PutRequest", key=PROBE_KEY, value=value_of(1, VALUE_BYTES))
        body = put.SerializeToString()
        with open(f"{self.tmp.name}/body", "wb") as file:
            file.write(b"\0" + len(body).to_bytes(4, "big") + body)
        self.process = subprocess.Popen(
            ["taskset", "-c", str(core), "h2load", f"-n{count}", "-c1", "-m1", "-t1",
             f"-d{self.tmp.name}/body", f"--log-file={self.tmp.name}/log",
             "-H", "content-type: application/grpc", "-H", "te: trailers",
             f"http://{server.endpoint}/etcdserverpb.KV/Put"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )

    def running(self):
        """Whether puts are still being sent."""
        return self.process.poll() is None

    def latencies_us(self):
        """Waits for the end; all of them, sorted."""
        self.process.wait(600)
        with open(f"{self.tmp.name}/log") as log:
            rows = [line.split("\t") for line in log]
        self.tmp.cleanup()
        if not rows or any(row[1] != "200" for row in rows):
            raise SystemExit(f"budgets: {len(rows)} probes, some failed")
        return sorted(int(row[2]) for row in rows)


def percentile(latencies, share):
    """Of a sorted list."""
    return latencies[min(len(latencies) - 1, int(len(latencies) * share))]


class Deaf:
    """A client that asks for a watch over its own connection and never reads a byte again."""

    def __init__(self, server, prefix):
        self.socket = socket.create_connection(("127.0.0.1", server.port))
        create = pb.message("WatchRequest", create_request=pb.message(
            "WatchCreateRequest", key=prefix, range_end=prefix_end(prefix)))
        body = create.SerializeToString()
        message = b"\0" + len(body).to_bytes(4, "big") + body
        fields = (
            (b":method", b"POST"), (b":scheme", b"http"),
            (b":path", b"/etcdserverpb.Watch/Watch"), (b":authority", b"localhost"),
            (b"content-type", b"application/grpc"), (b"te", b"trailers"),
        )
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)
        self.socket.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            # An initial window of 1 GiB: only the socket holds the server back.
            + _frame(4, 0, 0, struct.pack(">HI", 4, 1 << 30))
            + _frame(8, 0, 0, struct.pack(">I", (1 << 30)))
            + _frame(1, 4, 1, block) + _frame(0, 0, 1, message)
        )

    def close(self):
        """Hangs up."""
        self.socket.close()


def _text(value):
    """A string of a header block, as it is (RFC 7541, 5.2); shorter than 127 bytes."""
    return bytes([len(value)]) + value


def _frame(kind, flags, stream, payload):
    """An HTTP/2 frame (RFC 9113, 4.1)."""
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload
