"""Owns the measurement of how long nobody accepts writes: from the moment at which something is broken
to the answer to the first write that began after it, at a member that is not broken.

Never retries: a new write begins every 20 ms at every member, so that the figure is the cluster's and
not that of a client's patience. Invariant: every one of these writes is in the history.
"""

import threading
import time

from interop import pb

EVERY_SECONDS = 0.02
PATIENCE_SECONDS = 4.0
WAIT_SECONDS_MAX = 20.0
# Few enough that reading all keys stays cheap for the judge.
KEYS = 50


class Probe:
    """Writes through some members until one is answered."""

    def __init__(self, history, members, label):
        self.history, self.members, self.label = history, members, label
        self.apis = [member.api() for member in members]
        self.first, self.made, self.open = None, 0, 0
        self.broken_at = None
        self.lock = threading.Condition()

    def warm(self):
        """Connects, while all is well."""
        for member, api in zip(self.members, self.apis):
            read = pb.message("RangeRequest", key=b"probe", serializable=True)
            api.call("KV/Range", read, timeout=PATIENCE_SECONDS)

    def measure(self, breaks):
        """Breaks something; seconds until a write is accepted, and through which member."""
        breaks()
        self.broken_at = time.monotonic_ns()
        while self.first is None:
            if WAIT_SECONDS_MAX < (time.monotonic_ns() - self.broken_at) / 1e9:
                return None, None
            for member, api in zip(self.members, self.apis):
                self._put(member, api)
            with self.lock:
                self.lock.wait_for(lambda: self.first is not None, EVERY_SECONDS)
        seconds, member = self.first
        return seconds, member

    def _put(self, member, api):
        self.made += 1
        put = pb.message("PutRequest", key=b"probe%d" % (self.made % KEYS),
                         value=f"{self.label}.{self.made}".encode())
        called = self.history.moment()
        call = api.begin("KV/Put", put, timeout=PATIENCE_SECONDS)
        with self.lock:
            self.open += 1
        call.add_done_callback(lambda done: self._ended(member, put, called, done))

    def _ended(self, member, put, called, done):
        try:
            reply, failed = done.result(), None
        except pb.grpc.RpcError as error:
            reply, failed = None, pb.Failed(error)
        except pb.grpc.FutureCancelledError:
            reply, failed = None, None
        ended = self.history.op(member.number, "KV/Put", put, called, reply=reply, failed=failed)
        with self.lock:
            self.open -= 1
            if reply is not None and self.first is None:
                self.first = ((ended[1] - self.broken_at) / 1e9, member)
            self.lock.notify_all()

    def close(self):
        """When every write has ended, one way or the other."""
        with self.lock:
            self.lock.wait_for(lambda: self.open == 0, PATIENCE_SECONDS + 5)
        for api in self.apis:
            api.close()
