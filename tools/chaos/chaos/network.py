"""Owns the network of a run: a namespace for each member and one for the clients, joined by a switch
in user space (tools/netswitch) whose ways can be cut, late, slow and lossy, each direction for itself.

The switch is ours because kernels may lack sch_netem; it sees whole frames, so TCP does its own
retransmitting. Never leaves anything behind: names carry the pid, `sweep` removes what a run that was
killed could not. Invariant: addresses exist inside of the namespaces only.
"""

import ctypes
import os
import re
import subprocess

CLONE_NEWNET = 0x40000000
NAMED = re.compile(r"^ringleader-(\d+)-\w+$")


class Missing(Exception):
    """The machine lacks something that the tool cannot do without."""


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise Missing(f"'ip {' '.join(words)}' failed: {done.stderr.strip()}")
    return done.stdout


def check_machine(*programs):
    """Fails, saying what to do, where namespaces cannot be made."""
    if os.geteuid() != 0:
        raise Missing("network namespaces need root: run it as root, or with sudo")
    for path, remedy in [("/dev/net/tun", "modprobe tun (CONFIG_TUN)"),
                         ("/proc/self/ns/net", "a kernel with CONFIG_NET_NS")]:
        if not os.path.exists(path):
            raise Missing(f"{path} is missing: {remedy}")
    for tool, package in [("ip", "iproute2"), ("mkfs.ext4", "e2fsprogs"), ("losetup", "mount"),
                          ("fsfreeze", "util-linux")]:
        paths = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", *os.environ.get("PATH", "").split(":")]
        if not any(os.access(f"{path}/{tool}", os.X_OK) for path in paths):
            raise Missing(f"{tool} is missing: apt-get install {package}")
    for program in programs:
        if not os.access(program, os.X_OK):
            raise Missing(f"{program} is missing: "
                          f"cargo build -p {os.path.basename(program)}")


def is_dead(pid):
    return not os.path.exists(f"/proc/{pid}")


def sweep():
    """Removes the namespaces of runs that are no more."""
    for line in ip("netns", "list").splitlines():
        name = line.split()[0] if line.split() else ""
        match = NAMED.match(name)
        if match and is_dead(match.group(1)):
            ip("netns", "del", name)


def enter(name):
    """Moves this process, and all threads that it will begin, into the namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{name}") as namespace:
        if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise Missing(f"setns {name}: {os.strerror(ctypes.get_errno())}")


class Network:
    """Places by name, in order; `cut`, `shape` and `heal` say what the ways between them do."""

    def __init__(self, switch, places, seed):
        self.places = list(places)
        self.switch_path, self.seed = switch, seed
        self.made, self.switch = [], None

    def namespace(self, place):
        return f"ringleader-{os.getpid()}-{place}"

    def address(self, place):
        return f"10.91.0.{self.places.index(place) + 1}"

    def open(self):
        for place in self.places:
            ip("netns", "add", self.namespace(place))
            self.made.append(self.namespace(place))
        self.switch = subprocess.Popen(
            [self.switch_path, str(self.seed), *self.made],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )
        # It stands for wires, and wires do not wait for a processor.
        os.setpriority(os.PRIO_PROCESS, self.switch.pid, -15)
        if self.switch.stdout.readline().strip() != "ready":
            raise Missing("the switch did not start; its words are above")
        for place in self.places:
            self._dress(place)
        return self

    def _dress(self, place):
        name, number = self.namespace(place), self.places.index(place) + 1
        quiet = "for one in all default; do echo 1 > /proc/sys/net/ipv6/conf/$one/disable_ipv6; done"
        ip("netns", "exec", name, "sh", "-c", quiet)
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "set", "eth0", "address", f"02:00:00:00:00:{number:02x}")
        ip("-n", name, "addr", "add", f"{self.address(place)}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        for other, neighbour in enumerate(self.places, start=1):
            if neighbour != place:
                ip("-n", name, "neigh", "replace", self.address(neighbour), "dev", "eth0",
                   "lladdr", f"02:00:00:00:00:{other:02x}", "nud", "permanent")

    def order(self, line):
        self.switch.stdin.write(line + "\n")
        answer = self.switch.stdout.readline().strip()
        if answer != "done":
            raise Missing(f"the switch answers {line!r} with {answer!r}")

    def way(self, one, other, cut=0, delay_ms=0, jitter_ms=0, loss_percent=0, bytes_per_s=0):
        """What happens to frames from one place to another."""
        self.order(f"way {self.places.index(one)} {self.places.index(other)} {cut} "
                   f"{delay_ms * 1000} {jitter_ms * 1000} {int(loss_percent * 10_000)} {bytes_per_s}")

    def cut(self, ones, others, both=True):
        """Nothing arrives from the ones at the others, and back if `both`."""
        for one in ones:
            for other in others:
                self.way(one, other, cut=1)
                if both:
                    self.way(other, one, cut=1)

    def shape(self, places, **what):
        """All ways between these places become this."""
        for one in places:
            for other in places:
                if one != other:
                    self.way(one, other, **what)

    def heal(self):
        self.order("heal")

    def close(self):
        if self.switch is not None:
            self.switch.stdin.close()
            try:
                self.switch.wait(5)
            except subprocess.TimeoutExpired:
                self.switch.kill()
                self.switch.wait()
            self.switch.stdout.close()
            self.switch = None
        while self.made:
            ip("netns", "del", self.made.pop())
