"""Owns a cluster whose members live in namespaces of their own, on disks of their own where wanted.

Never breaks anything itself. Invariant: the client port and the peer port are etcd's, at an address
that exists in the namespaces alone.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "cluster"))

import members  # noqa: E402
from load import check  # noqa: E402

from .disks import Disk  # noqa: E402

DISK_MIB = 1024


class Placed(members.Member):
    """A member in its namespace."""

    def __init__(self, cluster, name, home):
        super().__init__(cluster, name, home)
        network = cluster.network
        self.host, self.port, self.peer_port = network.address(name), 2379, 2380
        self.wrap = ("ip", "netns", "exec", network.namespace(name))
        self.disk = None
        if cluster.own_disks:
            self.disk = Disk(home, DISK_MIB)
            self.data = f"{self.disk.point}/data"

    @property
    def number(self):
        return self.cluster.members.index(self) + 1

    def signal(self, signum):
        self.process.send_signal(signum)

    def destroy(self):
        if self.disk is not None:
            # A process that waits for a frozen disk does not even end when it is killed.
            self.disk.thaw()
        super().destroy()


class PlacedCluster(members.Cluster):
    """The cluster, and the network that it lives in."""

    def __init__(self, options, size, network, own_disks):
        self.network, self.own_disks = network, own_disks
        super().__init__(options, size, Placed)

    def reachable(self, *names):
        return [member for member in self.members if member.name in names]

    def others(self, *few):
        return [member for member in self.members if member not in few]

    def check_logs(self):
        """Nobody panicked, but for want of space."""
        for member in self.members:
            for line in member.log().splitlines():
                bad = members.NEVER.search(line) and "no space left" not in line
                check(not bad, f"{member.name} says {line}")

    def close_disks(self):
        for member in self.members:
            if member.disk is not None:
                member.disk.close()
