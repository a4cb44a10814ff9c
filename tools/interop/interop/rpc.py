"""Owns the running of one RPC sequence on one server: calls in, a transcript out. Never compares.

A sequence is a Python function that is given a `Caller`; see `rpc_cases`. Invariant: one entry of the
transcript per call or reply, in order, with ids and raft terms masked and nothing else.
"""

import queue
import threading
import time

import grpc
from google.protobuf import text_format

from . import pb

REPLY_SECONDS_MAX = 6.0
SILENCE_SECONDS = 0.4


class Sequence:
    """A function with its name, group and the flags of the server that it needs."""

    def __init__(self, function, group, flags, needs):
        self.function, self.group, self.flags, self.needs = function, group, flags, needs
        self.name = function.__name__.replace("_", " ")
        self.number = 0


def registry(group):
    """A list and the decorator that fills it: `@case`, `@case(server=[...], needs="auth")`."""
    cases = []

    def case(function=None, *, server=None, needs=""):
        def add(function):
            one = Sequence(function, group, server, needs)
            one.number = len(cases)
            cases.append(one)
            return function

        return add(function) if function else add

    return cases, case


class Caller:
    """What a sequence works with: `s.put(...)`, `s.call(...)`, `s.watch(...)`, `s.note(...)`."""

    def __init__(self, server, prefix):
        self.server = server
        self.api = pb.Api(server.endpoint)
        self.prefix = prefix
        self.entries = []
        self.streams = []
        self.secrets = {}

    def close(self):
        for stream in self.streams:
            stream.cancel()
        self.api.close()

    def key(self, name=""):
        """A key of this sequence alone."""
        return f"{self.prefix}{name}".encode()

    def end(self):
        """The end of the range of all keys of this sequence."""
        return self.prefix[:-1].encode() + bytes([ord(self.prefix[-1]) + 1])

    def hide(self, number, name):
        """From now on this number prints as 7; it was chosen by the server."""
        self.secrets[number] = name

    def note(self, label, text):
        self.entries.append((label, f"{text}\n"))

    def show(self, label, message):
        """Adds a reply to the transcript."""
        self.note(label, self.text(message))
        return message

    def text(self, message):
        shown = type(message)()
        shown.CopyFrom(message)
        self._mask(shown)
        lines = text_format.MessageToString(shown)
        for number, name in self.secrets.items():
            lines = lines.replace(str(number), f"<{name}>")
        return lines or "(an empty message)"

    def _mask(self, message):
        for field, value in message.ListFields():
            if field.message_type is None:
                continue
            parts = value if hasattr(value, "append") or hasattr(value, "add") else [value]
            for part in parts:
                if field.message_type.name == "ResponseHeader":
                    for name in ("cluster_id", "member_id", "raft_term"):
                        if getattr(part, name):
                            setattr(part, name, 7)
                else:
                    self._mask(part)

    def call(self, method, request, metadata=None, timeout=10, quiet=False):
        """One unary call; the reply, or None after a refusal. `quiet`: only a refusal is noted."""
        try:
            reply = self.api.call(method, request, timeout=timeout, metadata=metadata)
        except pb.Failed as failed:
            self.note(method, f"{failed.code}: {failed.text}")
            return None
        if not quiet:
            self.show(method, reply)
        return reply

    def raw(self, path, data=b"", metadata=None, timeout=10, compression=None):
        """Bytes to a path; notes the code and text, or the number of bytes that came back."""
        call = self.api.channel.unary_unary(path)
        try:
            reply = call(data, timeout=timeout, metadata=metadata, compression=compression)
            self.note(path, f"{len(reply)} bytes")
        except grpc.RpcError as error:
            self.note(path, f"{error.code().name}: {error.details()}")

    def put(self, name, value=b"1", **fields):
        """A put that must succeed; its reply is not noted. Answers the revision."""
        value = value.encode() if isinstance(value, str) else value
        request = pb.message("PutRequest", key=self.key(name), value=value, **fields)
        return self.api.call("KV/Put", request).header.revision

    def range(self, name="", **fields):
        """A range over one key of this sequence, or over all of them without a name."""
        fields.setdefault("key", self.key(name))
        if not name:
            fields.setdefault("range_end", self.end())
        return self.call("KV/Range", pb.message("RangeRequest", **fields))

    def grant(self, number, ttl=600):
        self.api.call("Lease/LeaseGrant", pb.message("LeaseGrantRequest", ID=number, TTL=ttl))

    def watch(self):
        """A new watch stream."""
        stream = Stream(self, "Watch/Watch")
        self.streams.append(stream)
        return stream

    def stream(self, method):
        """A new stream of any method with a stream of requests."""
        stream = Stream(self, method)
        self.streams.append(stream)
        return stream

    def eventually(self, condition, seconds):
        """Waits for the condition; notes whether it came."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                self.note("eventually", "it came")
                return
            time.sleep(0.1)
        self.note("eventually", f"not within {seconds} s")


class Stream:
    """A bidirectional stream: `send`, then `reply` or `silence`."""

    def __init__(self, caller, method):
        self.caller, self.method = caller, method
        self.outgoing, self.incoming = queue.Queue(), queue.Queue()
        self.call = caller.api.stream(method, iter(self.outgoing.get, None), timeout=60)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        try:
            for reply in self.call:
                self.incoming.put(reply)
            self.incoming.put("the server ended the stream")
        except grpc.RpcError as error:
            self.incoming.put(f"{error.code().name}: {error.details()}")

    def send(self, request):
        self.outgoing.put(request)

    def create(self, name=None, **fields):
        """Sends a create request of a watch: one key, or everything of the sequence."""
        if name is not None:
            fields.setdefault("key", self.caller.key(name))
        elif "key" not in fields:
            fields.update(key=self.caller.key(), range_end=self.caller.end())
        create = pb.message("WatchCreateRequest", **fields)
        self.send(pb.message("WatchRequest", create_request=create))

    def cancel_watch(self, number):
        cancel = pb.message("WatchCancelRequest", watch_id=number)
        self.send(pb.message("WatchRequest", cancel_request=cancel))

    def progress(self):
        progress = pb.message("WatchProgressRequest")
        self.send(pb.message("WatchRequest", progress_request=progress))

    def reply(self, quiet=False):
        """The next reply, noted; None when none comes."""
        try:
            reply = self.incoming.get(timeout=REPLY_SECONDS_MAX)
        except queue.Empty:
            self.caller.note(self.method, "no reply")
            return None
        if isinstance(reply, str):
            self.caller.note(self.method, reply)
            return None
        if not quiet:
            self.caller.show(self.method, reply)
        return reply

    def events(self, wanted):
        """Notes events until `wanted` have come, however they are spread over replies."""
        seen = []
        while len(seen) < wanted:
            reply = self.reply(quiet=True)
            if reply is None:
                break
            seen += [f"{reply.watch_id} " + self.caller.text(event) for event in reply.events]
        self.caller.note("events", "\n".join(seen))

    def silence(self):
        """Notes whatever comes although nothing should."""
        try:
            reply = self.incoming.get(timeout=SILENCE_SECONDS)
        except queue.Empty:
            self.caller.note(self.method, "silence")
            return
        self.caller.note(self.method, f"not silent: {reply}")

    def half_close(self):
        self.outgoing.put(None)

    def cancel(self):
        self.outgoing.put(None)
        self.call.cancel()
