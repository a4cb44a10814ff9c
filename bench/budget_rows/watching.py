"""Owns the rows about watches: many on one prefix, and clients that never read.

Each row is a function from a started, empty server to figures by name. Invariant: every event was
delivered before its cost counts.
"""

import queue

from interop import pb

from .load import Deaf, fill, prefix_end, value_of

PREFIX = b"watched/"
WATCHES = 1_000
EVENTS = 200
EVENT_BYTES = 100
DEAF = 200
DEAF_KEYS, DEAF_BYTES = 300_000, 1024


def thousand(server, options):
    """CPU of an event delivered, memory of a watch."""
    watches = options.scaled(WATCHES)
    asked = queue.Queue()
    resident = server.memory_mib()
    stream = server.api.stream("Watch/Watch", iter(asked.get, None), timeout=600)
    create = pb.message("WatchRequest", create_request=pb.message(
        "WatchCreateRequest", key=PREFIX, range_end=prefix_end(PREFIX)))
    for _ in range(watches):
        asked.put(create)
    created = 0
    for reply in stream:
        created += reply.created
        if created == watches:
            break
    idle = server.memory_mib()
    cpu = server.cpu_seconds()
    for number in range(EVENTS):
        server.api.call("KV/Put", pb.message(
            "PutRequest", key=PREFIX + b"%04d" % number, value=value_of(number, EVENT_BYTES)))
    wanted, seen = EVENTS * watches, 0
    for reply in stream:
        seen += len(reply.events)
        if seen == wanted:
            break
    figures = {
        "CPU us an event": (server.cpu_seconds() - cpu) / wanted * 1e6,
        "memory KB a watch": (idle - resident) * 1024 / watches,
    }
    asked.put(None)
    stream.cancel()
    return figures


def deaf(server, options):
    """Memory with clients that never read, while much is written."""
    clients = [Deaf(server, PREFIX) for _ in range(options.scaled(DEAF))]
    before = server.memory_mib()
    fill(server, PREFIX, options.scaled(DEAF_KEYS), DEAF_BYTES)
    figures = {"before MiB": before, "peak MiB": server.memory_peak_mib()}
    for client in clients:
        client.close()
    return figures
