"""Owns one member of a cluster under test: its process, its place, and what its log says.

Never compares and never masks. Invariant: what decides who the member is comes from the environment
that `member add` printed, or from the founders' list; a restart changes none of it.
"""

import json

from interop import pb, peers

# What a log says to operators besides its fatal lines, when a member ends.
TOLD = (
    "server error",
    "data-dir used by this member must be removed",
    "the member has been permanently removed from the cluster",
)


class Member(peers.Server):
    """One member; `ports` are the same on both sides, so that ids computed from URLs are too."""

    def __init__(self, binary, home, name, ports):
        super().__init__(binary, f"{home}/{name}", ports=ports)
        self.name = name
        self.data = f"{self.home}/data"
        self.identity = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def peer_url(self):
        return f"http://127.0.0.1:{self.peer_port}"

    def command(self):
        return [
            self.binary,
            f"--data-dir={self.data}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={self.peer_url}",
            *self.extra,
        ]

    def found(self, founders, token):
        """One of those that begin the cluster."""
        self.environment = {
            "ETCD_NAME": self.name,
            "ETCD_INITIAL_ADVERTISE_PEER_URLS": self.peer_url,
            "ETCD_INITIAL_CLUSTER": ",".join(f"{one.name}={one.peer_url}" for one in founders),
            "ETCD_INITIAL_CLUSTER_STATE": "new",
            "ETCD_INITIAL_CLUSTER_TOKEN": token,
        }

    def ask(self, method, message=None, timeout=3):
        """One call past etcdctl, for what the tool itself must know."""
        api = pb.Api(self.endpoint)
        try:
            return api.call(method, message or pb.message(method.split("/")[1] + "Request"), timeout)
        finally:
            api.close()

    def status(self):
        return self.ask("Maintenance/Status", pb.message("StatusRequest"))

    def page(self, port, path):
        """(status, fields, text) of a page of the client or peer port."""
        own, self.port = self.port, port
        try:
            return self.http("GET", path, timeout=5.0)
        finally:
            self.port = own

    def log_text(self):
        """The log since the last start."""
        with open(f"{self.home}/log.{self.starts}", errors="replace") as log:
            return log.read()

    def log_lines(self):
        """Its lines that are JSON, parsed."""
        for line in self.log_text().splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue

    def last_words(self):
        """What the log told whoever looks why the process ended."""
        words = []
        for line in self.log_lines():
            fatal = line.get("level") in ("fatal", "panic")
            if fatal or any(told in line.get("msg", "") for told in TOLD):
                level = "fatal" if fatal else "told"
                error = f": {line['error']}" if "error" in line else ""
                words.append(f"{level}: {line['msg']}{error}")
        return words
