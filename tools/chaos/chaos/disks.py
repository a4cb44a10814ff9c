"""Owns disks that can be filled and stopped: ext4 on a loop device over a sparse file, one for each
member that gets one.

Never fills the disk of the machine: an image is as large as it says. Invariant: what is mounted here
is thawed and unmounted at the end, whatever happened.
"""

import errno
import os
import re
import subprocess
import time

from .network import Missing, is_dead

MIB = 1 << 20
# Where runs mount: `sweep` finds them by it.
MOUNTED = re.compile(r"/chaos-(\d+)-[^/]*/")
UNMOUNT_SECONDS_MAX = 10.0


def tell(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise Missing(f"'{' '.join(words)}' failed: {done.stderr.strip()}")


def sweep():
    """Unmounts what runs that are no more have left."""
    with open("/proc/mounts") as mounts:
        points = [line.split()[1] for line in mounts]
    for point in points:
        match = MOUNTED.search(point)
        if match and is_dead(match.group(1)):
            subprocess.run(["fsfreeze", "-u", point], capture_output=True)
            tell("umount", point)


class Disk:
    """One file system of its own."""

    def __init__(self, home, mib):
        self.point, self.image = f"{home}/disk", f"{home}/disk.img"
        self.frozen = False
        os.makedirs(self.point)
        with open(self.image, "wb") as image:
            image.truncate(mib * MIB)
        tell("mkfs.ext4", "-q", "-m", "0", self.image)
        tell("mount", "-o", "loop", self.image, self.point)

    @property
    def ballast(self):
        return f"{self.point}/ballast"

    def free_bytes(self):
        stat = os.statvfs(self.point)
        return stat.f_bavail * stat.f_frsize

    def fill(self, left_bytes=0):
        """Somebody else takes all of the space but this."""
        at, piece = 0, 64 * MIB
        with open(self.ballast, "ab") as ballast:
            while piece >= 4096:
                try:
                    if self.free_bytes() - piece < left_bytes:
                        raise OSError(errno.ENOSPC, "as much as wanted")
                    os.posix_fallocate(ballast.fileno(), at, piece)
                    at += piece
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    piece //= 2

    def free(self):
        if os.path.exists(self.ballast):
            os.unlink(self.ballast)

    def freeze(self):
        """Writes do not come back until `thaw`."""
        tell("fsfreeze", "-f", self.point)
        self.frozen = True

    def thaw(self):
        if self.frozen:
            tell("fsfreeze", "-u", self.point)
            self.frozen = False

    def close(self):
        self.thaw()
        deadline = time.monotonic() + UNMOUNT_SECONDS_MAX
        # A process that was killed lets go of its files a moment later.
        while subprocess.run(["umount", self.point], capture_output=True).returncode != 0:
            if deadline < time.monotonic():
                tell("umount", "-l", self.point)
                return
            time.sleep(0.1)
