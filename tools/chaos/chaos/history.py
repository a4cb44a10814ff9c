"""Owns the history file of a run: what clients asked and were told, a line each, for
tools/judge (the meaning of the lines is in its src/file.rs).

Never judges. Invariant: moments rise, and an operation is called before it is sent and ended after its
answer is there.
"""

import hashlib
import itertools
import json
import threading
import time


# Longer values stand in the file by a hash: a disk is filled with megabytes.
VALUE_BYTES_MAX = 256


def digits(message):
    """The message's bytes as the file has them."""
    if message.ByteSize() > VALUE_BYTES_MAX:
        short = type(message)()
        short.CopyFrom(message)
        _shorten(short)
        message = short
    return message.SerializeToString().hex()


def _shorten(message):
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for one in value if hasattr(value, "extend") else [value]:
                _shorten(one)
        elif field.name == "value" and len(value) > VALUE_BYTES_MAX:
            setattr(message, field.name, hashlib.sha256(value).hexdigest().encode())


class History:
    """Takes records from any thread."""

    def __init__(self, path):
        self.path = path
        self.file = open(path, "w", buffering=1 << 16)
        self.numbers = itertools.count(1)
        self.lock = threading.Lock()
        self.ops = 0
        self.highest = 1

    def moment(self):
        """Now, after everything that was noted before."""
        with self.lock:
            return next(self.numbers), time.monotonic_ns()

    def _write(self, kind, **fields):
        line = json.dumps({"kind": kind, **fields}, separators=(",", ":"))
        with self.lock:
            # Threads that are not done when a run fails have nothing more to say.
            if not self.file.closed:
                self.file.write(line + "\n")

    def member(self, member, header):
        self._write("member", member=member, cluster_id=header.cluster_id,
                    member_id=header.member_id)

    def op(self, member, method, request, called, reply=None, failed=None):
        """An operation that ended, or whose fate nobody knows."""
        ended, error = None, None
        if reply is not None:
            ended = self.moment()
            self.highest = max(self.highest, reply.header.revision)
        elif failed is not None and failed.number is not None:
            ended, error = self.moment(), (failed.number, failed.text)
        self.ops += 1
        self._write("op", member=member, method=method, called=called, ended=ended, error=error,
                    request=digits(request),
                    reply=None if reply is None else digits(reply))
        return ended

    def watch(self, watch, member, create):
        self._write("watch", watch=watch, member=member, at=self.moment(),
                    create=digits(create))

    def watched(self, watch, reply):
        self._write("watched", watch=watch, at=self.moment(),
                    reply=digits(reply))

    def role(self, status):
        if status.leader != 0:
            self._write("role", term=status.raftTerm, leader=status.leader)

    def told(self, member, replies):
        self._write("history", member=member,
                    replies=[digits(reply) for reply in replies])

    def state(self, member, request, reply, hash_reply):
        self._write("state", member=member, request=digits(request),
                    reply=digits(reply),
                    hash=digits(hash_reply))

    def close(self):
        with self.lock:
            self.file.close()
