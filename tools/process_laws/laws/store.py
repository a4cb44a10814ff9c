"""Owns a data set: writes it to a server, remembers every change, checks that all of it is there.

Never looks at files. Invariant: `Store` knows the value, version, lease and revisions of every key
at every revision since the compacted one, so nothing that a server answers goes unchecked.
"""

import copy
import random
import threading
from dataclasses import dataclass, replace

from interop import pb

from .place import Violation, check

KEYS = 2000
LARGE_VALUES = 40
TXN_OPS = 60
LEASE_TTL = 100_000
CALL_SECONDS_MAX = 10
EVERYTHING = {"key": b"\0", "range_end": b"\0"}


@dataclass(frozen=True)
class Pair:
    """What etcd's KeyValue says of a key."""

    value: bytes
    created: int
    modified: int
    version: int
    lease: int


class Store:
    """What one server was told, by revision."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.live = {}  # key -> Pair
        self.past = {}  # revision -> what was live then, for a few revisions
        self.changes = {}  # revision -> {key: Pair, or None if it was deleted}
        self.leases = []
        self.revision = 1
        self.compacted = 0

    def copy(self):
        """One that can go on without changing this one."""
        return copy.deepcopy(self)

    def fill(self, api):
        """Part is compacted, part lies in a checkpoint with its history, part in the log alone."""
        keys = [b"k/%05d" % n for n in range(KEYS)]
        self._grant(api)
        self._create(api, keys[: KEYS // 4])
        self._churn(api, keys[: KEYS // 4], 4)
        self._compact(api, self.revision - 2)
        self._create(api, keys[KEYS // 4 :])
        self._large(api, LARGE_VALUES // 2)
        self._churn(api, keys, 12)
        # A physical compaction answers after one further checkpoint.
        self._compact(api, self.compacted + 1)
        self.past[self.revision] = dict(self.live)
        self._large(api, LARGE_VALUES // 2)
        self._churn(api, keys, 12)

    def _create(self, api, keys):
        for at in range(0, len(keys), TXN_OPS):
            self._txn(api, keys[at : at + TXN_OPS])

    def _grant(self, api):
        for number in range(1, 6):
            ask = pb.message("LeaseGrantRequest", ID=number, TTL=LEASE_TTL)
            api.call("Lease/LeaseGrant", ask)
            self.leases.append(number)

    def _txn(self, api, keys):
        puts = [(key, self._value(1, 300), self._lease()) for key in keys]
        self._write(api, puts, [])

    def _churn(self, api, keys, txns):
        """Overwrites, deletions and keys that come back, each txn one revision."""
        for _ in range(txns):
            chosen = self.random.sample(keys, TXN_OPS)
            gone = [key for key in chosen[:10] if key in self.live]
            puts = [(key, self._value(0, 300), self._lease()) for key in chosen[10:]]
            self._write(api, puts, gone)

    def _large(self, api, count):
        for _ in range(count):
            key = b"large/%02d" % self.random.randrange(LARGE_VALUES)
            self._write(api, [(key, self._value(4097, 200_000), self._lease())], [])

    def _value(self, least, most):
        return self.random.randbytes(self.random.randint(least, most))

    def _lease(self):
        return self.random.choice(self.leases) if self.random.random() < 0.05 else 0

    def _write(self, api, puts, gone):
        operations = [
            pb.message("RequestOp", request_put=pb.message(
                "PutRequest", key=key, value=value, lease=lease))
            for key, value, lease in puts
        ] + [
            pb.message("RequestOp", request_delete_range=pb.message("DeleteRangeRequest", key=key))
            for key in gone
        ]
        reply = api.call("KV/Txn", pb.message("TxnRequest", success=operations))
        self.revision += 1
        check(reply.header.revision == self.revision, f"revision {reply.header.revision} comes "
              f"after {self.revision - 1}")
        changes = {key: self._next(key, value, lease) for key, value, lease in puts}
        changes.update({key: None for key in gone})
        self.changes[self.revision] = changes
        for key, pair in changes.items():
            if pair is None:
                del self.live[key]
            else:
                self.live[key] = pair

    def _next(self, key, value, lease):
        old = self.live.get(key)
        if old is None:
            return Pair(value, self.revision, self.revision, 1, lease)
        return replace(old, value=value, modified=self.revision, version=old.version + 1,
                       lease=lease)

    def _compact(self, api, revision):
        api.call("KV/Compact", pb.message("CompactionRequest", revision=revision, physical=True))
        self.compacted = revision
        for old in [old for old in self.changes if old <= revision]:
            del self.changes[old]

    def go_on(self, api):
        """A write and a compaction, which read what only they read."""
        key = b"k/%05d" % self.random.randrange(KEYS)
        self._write(api, [(key, b"written later", 0)], [])
        self.past.clear()
        self._compact(api, self.revision)

    def verify(self, api):
        """Everything is there and nothing else, now, at a past revision, and as history."""
        self._verify_live(api, 0, self.live)
        for revision, live in self.past.items():
            self._verify_live(api, revision, live)
        self._verify_changes(api)
        for lease in self.leases:
            ask = pb.message("LeaseTimeToLiveRequest", ID=lease, keys=True)
            reply = api.call("Lease/LeaseTimeToLive", ask, timeout=CALL_SECONDS_MAX)
            wanted = sorted(key for key, pair in self.live.items() if pair.lease == lease)
            check(reply.grantedTTL == LEASE_TTL and sorted(reply.keys) == wanted,
                  f"lease {lease} has TTL {reply.grantedTTL} and keys {sorted(reply.keys)}")

    def _verify_live(self, api, revision, wanted):
        ask = pb.message("RangeRequest", revision=revision, **EVERYTHING)
        reply = api.call("KV/Range", ask, timeout=CALL_SECONDS_MAX)
        found = {kv.key: _pair(kv) for kv in reply.kvs}
        check(reply.header.revision == self.revision,
              f"the revision is {reply.header.revision}, not {self.revision}")
        _same(found, wanted, f"at revision {revision or self.revision}")
        check(len(reply.kvs) == reply.count == len(wanted), f"{reply.count} keys are counted")

    def _verify_changes(self, api):
        found = {}
        for event in _events(api, self.compacted + 1, self.revision):
            pair = None if event.type == 1 else _pair(event.kv)
            changes = found.setdefault(event.kv.mod_revision, {})
            check(event.kv.key not in changes, f"{event.kv.key} changes twice in one revision")
            changes[event.kv.key] = pair
        check(list(found) == list(range(self.compacted + 1, self.revision + 1)),
              f"the history has revisions {list(found)}")
        for revision, changes in found.items():
            _same(changes, self.changes[revision], f"the changes of revision {revision}")


def _pair(kv):
    return Pair(kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)


def _same(found, wanted, where):
    for key in sorted(found.keys() | wanted.keys()):
        check(found.get(key) == wanted.get(key),
              f"{where}, {key}: {_short(found.get(key))} instead of {_short(wanted.get(key))}")


def _short(pair):
    return pair and replace(pair, value=pair.value[:16] + b"..." * (len(pair.value) > 16))


def _events(api, first, last):
    """All events of the revisions from `first` to `last`."""
    if first > last:
        return
    create = pb.message("WatchCreateRequest", start_revision=first, **EVERYTHING)
    done = threading.Event()

    def requests():
        yield pb.message("WatchRequest", create_request=create)
        done.wait(CALL_SECONDS_MAX)

    call = api.stream("Watch/Watch", requests(), timeout=CALL_SECONDS_MAX)
    try:
        for reply in call:
            if reply.canceled:
                raise Violation(f"the watch from {first} is canceled: {reply.cancel_reason}")
            yield from reply.events
            # A reply holds whole revisions, so the last one has come with its first event.
            if reply.events and reply.events[-1].kv.mod_revision >= last:
                return
    except pb.grpc.RpcError as error:
        raise pb.Failed(error) from None
    finally:
        done.set()
        call.cancel()
