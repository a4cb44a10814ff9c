"""Owns the clients of a cluster under test: what they were told, and whether the members' histories
agree with it.

Never starts a server. Invariant: every write has a value of its own, so that an event names the
write that made it; a write without an answer may appear once, at any time, or never.
"""

import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))

from interop import pb  # noqa: E402

KEYS_PER_WRITER = 8
WRITERS = 6
REQUEST_SECONDS_MAX = 4.0


class Violation(Exception):
    """Something that was acknowledged is not there, or something is there that nobody wrote."""


def check(condition, text):
    if not condition:
        raise Violation(text)


def history(api, start, head):
    """{revision: {key: value or None}} from `start` to `head`, by one watch."""
    events = {}
    if start > head:
        return events
    create = pb.message("WatchCreateRequest", key=b"\0", range_end=b"\0", start_revision=start)
    done = threading.Event()

    def requests():
        yield pb.message("WatchRequest", create_request=create)
        done.wait(60)

    call = api.stream("Watch/Watch", requests(), timeout=60)
    last = 0
    try:
        for reply in call:
            check(not reply.canceled, f"watch canceled: {reply.cancel_reason}")
            for event in reply.events:
                revision = event.kv.mod_revision
                check(last <= revision, f"event of revision {revision} after {last}")
                last = revision
                pairs = events.setdefault(revision, {})
                key = event.kv.key.decode()
                check(key not in pairs, f"{key} twice in revision {revision}")
                pairs[key] = None if event.type == 1 else event.kv.value.decode()
            if last >= head:
                break
    finally:
        done.set()
        call.cancel()
    return {revision: pairs for revision, pairs in events.items() if revision <= head}


class Client:
    """One member at a time, another one after an error."""

    def __init__(self, endpoints, dice):
        self.endpoints = endpoints
        self.random = dice
        self.apis = {}

    def call(self, method, message):
        """The reply, or None when nobody knows what came of it."""
        endpoint = self.random.choice(self.endpoints)
        api = self.apis.get(endpoint)
        if api is None:
            api = self.apis[endpoint] = pb.Api(endpoint)
        try:
            return api.call(method, message, timeout=REQUEST_SECONDS_MAX)
        except pb.Failed as failed:
            if failed.code not in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "UNKNOWN", "CANCELLED"):
                raise Violation(f"{method} through {endpoint}: {failed}") from failed
            # Channels wait longer and longer before they try a dead member again.
            self.apis.pop(endpoint).close()
            time.sleep(0.02)
            return None

    def close(self):
        for api in self.apis.values():
            api.close()
        self.apis = {}


class Writer:
    """Puts, deletes and transactions on keys of its own, one after another."""

    def __init__(self, name, endpoints, seed):
        self.name = name
        self.random = random.Random(seed)
        self.client = Client(endpoints, self.random)
        self.sequence = 0
        self.told = {}  # revision -> pairs
        self.unknown = []  # pairs that may appear yet

    def step(self):
        self.sequence += 1
        value = f"{self.name}:{self.sequence}"
        dice = self.random.random()
        if dice < 0.7:
            pairs = {self._key(): value}
            key, text = next(iter(pairs.items()))
            put = pb.message("PutRequest", key=key.encode(), value=text.encode())
            self._note(pairs, self.client.call("KV/Put", put))
            return
        keys = [f"t/{self.name}/{number}" for number in range(3)]
        pairs = {key: value for key in keys}
        puts = [pb.message("RequestOp", request_put=pb.message(
            "PutRequest", key=key.encode(), value=value.encode())) for key in keys]
        self._note(pairs, self.client.call("KV/Txn", pb.message("TxnRequest", success=puts)))

    def _key(self):
        return f"w/{self.name}/{self.random.randrange(KEYS_PER_WRITER)}"

    def _note(self, pairs, reply):
        if reply is None:
            self.unknown.append(pairs)
            return
        revision = reply.header.revision
        check(revision not in self.told, f"{self.name}: revision {revision} twice")
        self.told[revision] = pairs


class Counter:
    """One writer counts up; reads through any member are never older than the last answer."""

    def __init__(self, endpoints, seed):
        self.random = random.Random(seed)
        self.writer = Client(endpoints, self.random)
        self.reader = Client(endpoints, random.Random(seed + 1))
        self.asked = 0
        self.acknowledged = 0
        self.reads = 0
        self.told = {}
        self.unknown = []

    def write(self):
        self.asked += 1
        value = f"c:{self.asked}"
        put = pb.message("PutRequest", key=b"counter", value=value.encode())
        reply = self.writer.call("KV/Put", put)
        if reply is None:
            self.unknown.append({"counter": value})
        else:
            self.acknowledged = self.asked
            self.told[reply.header.revision] = {"counter": value}

    def read(self):
        least = self.acknowledged
        reply = self.reader.call("KV/Range", pb.message("RangeRequest", key=b"counter"))
        if reply is None or not reply.kvs:
            check(reply is None or least == 0, f"the counter is gone after {least}")
            return
        # A write without an answer that comes late may set it back: only then is less allowed.
        found = int(reply.kvs[0].value.decode().split(":")[1])
        late = {pairs["counter"] for pairs in self.unknown}
        check(least <= found <= self.asked or f"c:{found}" in late,
              f"the counter reads {found} after {least} was acknowledged")
        self.reads += 1


class Load:
    """All clients, running until stopped."""

    def __init__(self, endpoints, seed):
        self.endpoints = endpoints
        self.writers = [Writer(f"{number:02d}", endpoints, seed * 100 + number)
                        for number in range(WRITERS)]
        self.counter = Counter(endpoints, seed * 100 + 99)
        self.halt = threading.Event()
        self.pause = threading.Lock()
        self.threads = []
        self.violations = []
        self.strangers = ("failover", "through/", "leased", "missed/")

    def start(self):
        steps = [writer.step for writer in self.writers]
        steps += [self.counter.write, self.counter.read]
        for step in steps:
            gate = threading.Lock()
            thread = threading.Thread(target=self._run, args=(step, gate), daemon=True)
            thread.gate = gate
            self.threads.append(thread)
            thread.start()

    def _run(self, step, gate):
        while not self.halt.is_set():
            try:
                with gate:
                    step()
            except Exception as violation:  # shown by the main thread
                self.violations.append(violation)
                return
            time.sleep(0.002)

    def running(self, seconds):
        """Lets the clients run for a while."""
        time.sleep(seconds)
        self._raise()

    def _raise(self):
        if self.violations:
            violation = self.violations[0]
            raise violation if isinstance(violation, Violation) else Violation(repr(violation))

    def stop(self):
        self.halt.set()
        for thread in self.threads:
            thread.join(2 * REQUEST_SECONDS_MAX)

    def verify(self, endpoints):
        """Stands still, and compares what was told with the history of every member."""
        for thread in self.threads:
            thread.gate.acquire()
        try:
            self._raise()
            head, first = None, None
            for endpoint in endpoints:
                api = pb.Api(endpoint)
                try:
                    read = pb.message("RangeRequest", key=b"\0", range_end=b"\0", count_only=True)
                    now = api.call("KV/Range", read, timeout=20).header.revision
                    head = head or now
                    events = history(api, 2, head)
                finally:
                    api.close()
                if first is None:
                    first = events
                    self._compare(events, head)
                check(events == first, f"{endpoint} has another history: {differing(first, events)}")
        finally:
            for thread in self.threads:
                thread.gate.release()

    def _compare(self, events, head):
        told, unknown = {}, {}
        for client in [*self.writers, self.counter]:
            told.update(client.told)
            for pairs in client.unknown:
                unknown[tuple(sorted(pairs.items()))] = pairs
        check(max(told, default=1) <= head, f"revision {head} after {max(told, default=1)}")
        check(sorted(events) == list(range(2, head + 1)), "revisions are missing")
        for revision, pairs in events.items():
            wanted = told.get(revision)
            if wanted is not None:
                check(pairs == wanted, f"revision {revision}: {pairs}, told {wanted}")
            elif not next(iter(pairs)).startswith(self.strangers):
                asked = unknown.pop(tuple(sorted(pairs.items())), None)
                check(asked is not None, f"revision {revision}: nobody asked for {pairs}, or twice")
        lost = [revision for revision in told if revision not in events]
        check(not lost, f"acknowledged and lost: {lost[:5]}")

    def figures(self):
        writes = sum(len(client.told) for client in [*self.writers, self.counter])
        unknown = sum(len(client.unknown) for client in [*self.writers, self.counter])
        return f"{writes} acknowledged writes ({unknown} without an answer), " \
               f"{self.counter.reads} reads of the counter"


def differing(one, other):
    revisions = [revision for revision in sorted(set(one) | set(other))
                 if one.get(revision) != other.get(revision)]
    return [(revision, one.get(revision), other.get(revision)) for revision in revisions[:3]]
