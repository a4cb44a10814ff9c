"""Owns the clients of a run: each thread talks to one member until that fails it, then to another, and
writes down everything that it asked and was told.

Never judges an answer. Invariant: no two writes of a run carry the same value, so that what happened
tells who did it.
"""

import random
import threading
import time

from interop import pb

# Few keys, so that clients meet.
KEYS = 16
PATIENCE_SECONDS = (1.0, 4.0)
ALL = {"key": b"\0", "range_end": b"\0"}


def key(number):
    return b"k%02d" % number


class Member:
    """Where a client may go: the number of a member and its address."""

    def __init__(self, number, endpoint):
        self.number, self.endpoint = number, endpoint


class Actor(threading.Thread):
    """A client with a member of the moment."""

    def __init__(self, world, name, seed):
        super().__init__(daemon=True, name=name)
        self.world, self.random = world, random.Random(seed)
        self.member, self.api = self.random.choice(world.members), None
        self.made = 0
        self.broken = None

    def run(self):
        try:
            while not self.world.halt.is_set():
                self.step()
            self.finish()
        except Exception as broken:  # shown by the main thread
            self.broken = broken
        finally:
            self.leave()

    def finish(self):
        """What is left to be done when nobody asks for more."""

    def connection(self):
        if self.api is None:
            self.api = pb.Api(self.member.endpoint)
        return self.api

    def leave(self):
        """Goes to another member next time."""
        if self.api is not None:
            self.api.close()
            self.api = None
        self.member = self.random.choice(self.world.members)

    def ask(self, method, request, patience=None):
        """The reply, or None. Everything is written down."""
        api, called = self.connection(), self.world.history.moment()
        patience = patience or self.random.uniform(*PATIENCE_SECONDS)
        try:
            reply = api.call(method, request, timeout=patience)
        except pb.Failed as failed:
            self.world.history.op(self.member.number, method, request, called, failed=failed)
            self.leave()
            self.world.halt.wait(0.02)
            return None
        self.world.history.op(self.member.number, method, request, called, reply=reply)
        return reply

    def value(self):
        self.made += 1
        return f"{self.name}.{self.made}".encode()


class Client(Actor):
    """Puts, deletes, guarded transactions and reads on few keys."""

    def __init__(self, world, name, seed):
        super().__init__(world, name, seed)
        self.revisions = {}

    def step(self):
        dice = self.random.randrange(100)
        if dice < 36:
            self._put()
        elif dice < 44:
            self._delete()
        elif dice < 62:
            self._swap()
        else:
            self._range()
        self.world.halt.wait(self.random.uniform(0, 2 * self.world.think))
        # Now and then another member, without a reason.
        if self.random.random() < 0.03:
            self.leave()

    def _key(self):
        return key(self.random.randrange(KEYS))

    def _span(self):
        first = self.random.randrange(KEYS)
        return {"key": key(first), "range_end": key(first + 1 + self.random.randrange(3))}

    def _fields(self):
        lease = self.world.some_lease(self.random) if self.random.random() < 0.2 else 0
        return {"key": self._key(), "value": self.value(), "lease": lease,
                "prev_kv": self.random.random() < 0.2}

    def _put(self):
        fields = self._fields()
        reply = self.ask("KV/Put", pb.message("PutRequest", **fields))
        if reply is not None:
            self.revisions[fields["key"]] = reply.header.revision

    def _delete(self):
        span = {"key": self._key()} if self.random.random() < 0.7 else self._span()
        self.ask("KV/DeleteRange", pb.message("DeleteRangeRequest", **span))

    def _swap(self):
        """Writes two keys if one is as it was last heard of."""
        fields, other = self._fields(), self._key()
        fields["lease"] = 0
        guard = pb.message("Compare", result=0, target=2, key=fields["key"],
                           mod_revision=self.revisions.get(fields["key"], 0))
        success = [pb.message("RequestOp", request_put=pb.message("PutRequest", **fields))]
        if other != fields["key"]:
            change = {"request_put": pb.message("PutRequest", key=other, value=fields["value"])}
            if self.random.random() < 0.5:
                delete = pb.message("DeleteRangeRequest", key=other)
                change = {"request_delete_range": delete}
            success.append(pb.message("RequestOp", **change))
        own = pb.message("RangeRequest", key=fields["key"])
        failure = [pb.message("RequestOp", request_range=own)]
        txn = pb.message("TxnRequest", compare=[guard], success=success, failure=failure)
        reply = self.ask("KV/Txn", txn)
        if reply is None:
            return
        if reply.succeeded:
            self.revisions[fields["key"]] = reply.header.revision
        else:
            for pair in reply.responses[0].response_range.kvs:
                self.revisions[pair.key] = pair.mod_revision

    def _range(self):
        span = self.random.choice([{"key": self._key()}, {"key": self._key()}, self._span(), ALL])
        old = self.random.random() < 0.15
        revision = self.random.randint(1, self.world.history.highest) if old else 0
        serializable = self.random.random() < 0.25
        request = pb.message("RangeRequest", revision=revision, serializable=serializable, **span)
        reply = self.ask("KV/Range", request)
        if reply is not None and not revision:
            for pair in reply.kvs:
                self.revisions[pair.key] = pair.mod_revision


class Watch(Actor):
    """One watch, over as many streams as it takes: each goes on after the last revision seen."""

    def __init__(self, world, name, seed, number):
        super().__init__(world, name, seed)
        self.number, self.started = number, False
        first = self.random.randrange(KEYS)
        span = self.random.choice([{"key": key(first)}, ALL,
                                   {"key": key(first), "range_end": key(first + 3)}])
        filters = [self.random.randrange(2)] if self.random.random() < 0.2 else []
        self.create = pb.message("WatchCreateRequest", prev_kv=self.random.random() < 0.4,
                                 filters=filters, **span)
        # 0 is now; the member's answer says when that was.
        self.next = self.random.choice([0, 1, 1, 10])
        self.begun = self.next != 0

    def step(self):
        self.create.start_revision = self.next
        request = pb.message("WatchRequest", create_request=self.create)
        left = threading.Event()

        def requests():
            yield request
            progress = pb.message("WatchProgressRequest")
            while not left.wait(self.world.progress):
                yield pb.message("WatchRequest", progress_request=progress)

        self.world.history.watch(self.number, self.member.number, self.create)
        # The deadline is what makes it leave a member that is well.
        stream = self.connection().stream("Watch/Watch", requests(),
                                          timeout=self.random.uniform(1.0, 6.0))
        try:
            for reply in stream:
                self.world.history.watched(self.number, reply)
                self._note(reply)
                if self.world.halt.is_set() and self.world.head < self.next:
                    break
        except pb.grpc.RpcError:
            pass
        finally:
            left.set()
            stream.cancel()
            self.leave()
        time.sleep(0.02)

    def _note(self, reply):
        """The same as the judge's: where this watch would go on."""
        if reply.created:
            if self.next == 0:
                self.next = reply.header.revision + 1
        elif reply.events:
            self.next = reply.events[-1].kv.mod_revision + 1
        elif not reply.compact_revision and not reply.canceled:
            self.next = max(self.next, reply.header.revision + 1)

    def finish(self):
        """Goes on until it has seen everything."""
        deadline = time.monotonic() + 60
        while self.next <= self.world.head:
            if deadline < time.monotonic():
                raise RuntimeError(f"watch {self.number} stays at {self.next} of {self.world.head}")
            self.step()


class Holder(Actor):
    """Leases, one after another: granted, hung with a key, renewed for a while, given back or left."""

    def __init__(self, world, name, seed, number):
        super().__init__(world, name, seed)
        self.number = number

    def step(self):
        self.made += 1
        lease = 1000 * self.number + self.made
        ttl = self.random.choice([2, 3, 4, 10])
        grant = pb.message("LeaseGrantRequest", ID=lease, TTL=ttl)
        self.world.granted.append(lease)
        if self.ask("Lease/LeaseGrant", grant) is None:
            return
        put = pb.message("PutRequest", key=b"lease%d" % lease, value=b"h%d" % lease, lease=lease)
        if self.ask("KV/Put", put) is None:
            return
        self.world.held.add(lease)
        for _ in range(self.random.randrange(16)):
            self.world.halt.wait(min(ttl, 4) / 4)
            if self.world.halt.is_set() or not self._renew(lease):
                break
        self.world.held.discard(lease)
        if self.random.random() < 0.5:
            self.ask("Lease/LeaseRevoke", pb.message("LeaseRevokeRequest", ID=lease))

    def _renew(self, lease):
        """False once it has ended; a renewal that nobody answers may have been granted."""
        request = pb.message("LeaseKeepAliveRequest", ID=lease)
        called, method = self.world.history.moment(), "Lease/LeaseKeepAlive"
        stream = self.connection().stream(method, iter([request]), timeout=1.0)
        try:
            reply = next(stream)
        except (pb.grpc.RpcError, StopIteration):
            self.world.history.op(self.member.number, method, request, called)
            self.leave()
            return True
        self.world.history.op(self.member.number, method, request, called, reply=reply)
        return 0 < reply.TTL


class World:
    """All clients of a cluster, and what they share."""

    def __init__(self, history, members, seed, think):
        self.history, self.think = history, think
        self.members = members
        self.halt = threading.Event()
        self.head = 1 << 62
        self.progress = 0.7
        self.granted, self.held = [], set()
        dice = random.Random(seed)
        self.writers = [Client(self, f"c{at}", dice.random()) for at in range(6)]
        self.writers += [Holder(self, f"h{at}", dice.random(), at + 1) for at in range(3)]
        self.watches = [Watch(self, f"w{at}", dice.random(), at + 1) for at in range(4)]

    def some_lease(self, dice):
        held = sorted(self.held)
        return dice.choice(held) if held else 0

    def start(self):
        for actor in [*self.writers, *self.watches]:
            actor.start()

    def check(self):
        """Raises what went wrong in a thread."""
        for actor in [*self.writers, *self.watches]:
            if actor.broken is not None:
                raise RuntimeError(f"client {actor.name}: {actor.broken!r}") from actor.broken

    def stop_writers(self):
        self.halt.set()
        for writer in self.writers:
            writer.join(3 * PATIENCE_SECONDS[1])

    def stop_watches(self, head):
        """Once they have seen everything up to here."""
        self.head = head
        for watch in self.watches:
            watch.join(40)
            if watch.is_alive():
                raise RuntimeError(f"watch {watch.number} stays at {watch.next} of {head}")
