"""Owns one measured server: a process on one core with a data directory, and what /proc says of it.

Never judges. Invariant: its process is ended by its own pid.
"""

import os
import re
import subprocess
import tempfile
import time

from interop import pb, peers

CLOCK_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
MESSAGE_BYTES_MAX = 1 << 30
# A large store takes its time.
READY_SECONDS_MAX = 120.0


class Measured(peers.Server):
    """A server pinned to one core."""

    def __init__(self, name, binary, flags, core, root):
        home = tempfile.mkdtemp(prefix=f"budgets-{name}-", dir=root)
        super().__init__(binary, home, [
            "--quota-backend-bytes=8589934592", "--max-txn-ops=1024", *flags,
        ])
        self.name, self.core = name, core
        self._api = None

    def command(self):
        return ["taskset", "-c", str(self.core), *super().command()]

    def start_timed(self):
        """Starts; the seconds until it answered a linearizable read."""
        began = time.monotonic()
        self.launch()
        asked = pb.message("RangeRequest", key=b"none")
        while time.monotonic() - began < READY_SECONDS_MAX:
            if not self.alive():
                raise SystemExit(f"{self.name} ended at start: {self.log_tail()}")
            api = pb.Api(self.endpoint)
            try:
                api.call("KV/Range", asked, timeout=1)
                return time.monotonic() - began
            except pb.Failed:
                time.sleep(0.01)
            finally:
                api.close()
        raise SystemExit(f"{self.name} is not ready: {self.log_tail()}")

    @property
    def api(self):
        """A connection that takes answers of any size."""
        if self._api is None:
            self._api = pb.Api(self.endpoint, [
                ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
                ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
            ])
        return self._api

    def hang_up(self):
        """Closes the connection, before a restart."""
        if self._api is not None:
            self._api.close()
            self._api = None

    def cpu_seconds(self):
        """User and system time so far."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            parts = stat.read().rsplit(")", 1)[1].split()
        return (int(parts[11]) + int(parts[12])) * CLOCK_TICK_SECONDS

    def memory_mib(self):
        """Resident now."""
        return self._status("VmRSS")

    def memory_peak_mib(self):
        """The most that was ever resident."""
        return self._status("VmHWM")

    def _status(self, name):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(rf"{name}:\s+(\d+) kB", status.read()).group(1)) / 1024

    def destroy(self):
        self.hang_up()
        subprocess.run(["sync"], check=True)
        super().destroy()
