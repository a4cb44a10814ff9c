"""Owns the laws of stopping: a signal under load, and everything that was acknowledged kept.

Never judges what was not acknowledged. Invariant: each writer has one request in flight.
"""

import random
import signal
import threading
import time

from interop import pb

from .place import Place, check

WRITERS = 8
LOAD_SECONDS = 0.7
STOP_SECONDS_MAX = 15.0


class Writer(threading.Thread):
    """Puts the numbers 1, 2, 3, ... under its own key until the server is gone."""

    def __init__(self, place, name):
        super().__init__()
        self.place, self.key = place, name.encode()
        self.acknowledged = 0
        self.refusal = None

    def run(self):
        api = pb.Api(self.place.endpoint)
        try:
            while True:
                value = str(self.acknowledged + 1).encode()
                api.call("KV/Put", pb.message("PutRequest", key=self.key, value=value))
                self.acknowledged += 1
        except pb.Failed as failed:
            self.refusal = failed
        finally:
            api.close()


def sigterm_under_load_loses_nothing(bench):
    return _stopped_by(bench, signal.SIGTERM)


def sigint_under_load_loses_nothing(bench):
    return _stopped_by(bench, signal.SIGINT)


def _stopped_by(bench, signum):
    place = Place(bench, f"stop-{signum}")
    try:
        place.start()
        writers = [Writer(place, f"w{number}") for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        time.sleep(LOAD_SECONDS * random.Random(bench.seed + signum).uniform(0.5, 1.0))
        place.process.send_signal(signum)
        status = place.ended(STOP_SECONDS_MAX)
        for writer in writers:
            writer.join()
        # As etcd: the process dies of the signal, so that a shell sees 128 and its number.
        check(status == -signum, f"it ended with {status}, not of signal {signum}")
        place.stop()
        place.start()
        return _all_there(place, writers)
    finally:
        place.destroy()


def _all_there(place, writers):
    api = pb.Api(place.endpoint)
    try:
        for writer in writers:
            ended = writer.refusal.code
            check(ended in ("UNAVAILABLE", "CANCELLED"), f"a call ended with {writer.refusal}")
            reply = api.call("KV/Range", pb.message("RangeRequest", key=writer.key))
            last = int(reply.kvs[0].value) if reply.kvs else 0
            # The one put that nobody was told of may have been done.
            check(last in (writer.acknowledged, writer.acknowledged + 1),
                  f"{writer.key} is {last}, acknowledged was {writer.acknowledged}")
            check(writer.acknowledged > 0, f"{writer.key} was never written: {writer.refusal}")
    finally:
        api.close()
    return f"{sum(writer.acknowledged for writer in writers)} puts"
