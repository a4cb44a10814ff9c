"""Owns a copy of a stopped data directory in memory: every file as its blocks that are not zeros.

Never knows a format. Invariant: `write` gives back exactly the bytes that `read` saw; where they
were zeros the new file has holes, so that 64 MiB segments cost nothing.
"""

import os
import shutil

BLOCK = 4096
ZEROS = bytes(BLOCK)


class Image:
    """`files`: path inside the directory -> (length, {offset: block})."""

    def __init__(self, files):
        self.files = files

    @staticmethod
    def read(root):
        files = {}
        for folder, _, names in os.walk(root):
            for name in names:
                path = os.path.join(folder, name)
                files[os.path.relpath(path, root)] = _blocks(path)
        return Image(files)

    def write(self, root):
        """Makes the directory anew; what was there is removed."""
        shutil.rmtree(root, ignore_errors=True)
        os.makedirs(root, mode=0o700)
        for name, (length, blocks) in self.files.items():
            path = os.path.join(root, name)
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            with open(path, "wb") as out:
                out.truncate(length)
                for offset, block in blocks.items():
                    out.seek(offset)
                    out.write(block)

    def with_bytes(self, name, offset, new):
        """A copy in which `new` stands at `offset` of the file `name`, within one block."""
        length, blocks = self.files[name]
        start = offset - offset % BLOCK
        block = bytearray(blocks.get(start, ZEROS))
        block[offset - start : offset - start + len(new)] = new
        return Image({**self.files, name: (length, {**blocks, start: bytes(block)})})

    def without(self, name):
        """A copy that lacks the file."""
        return Image({other: what for other, what in self.files.items() if other != name})

    def bytes(self, name, offset, length):
        """`length` bytes of the file from `offset` on."""
        blocks = self.files[name][1]
        first = offset - offset % BLOCK
        whole = b"".join(blocks.get(at, ZEROS) for at in range(first, offset + length, BLOCK))
        return whole[offset - first : offset - first + length]

    def differences(self, other):
        """Names of the files that are not the same in both."""
        names = self.files.keys() | other.files.keys()
        return sorted(name for name in names if self.files.get(name) != other.files.get(name))


def _blocks(path):
    blocks, at = {}, 0
    with open(path, "rb") as data:
        while block := data.read(BLOCK):
            if block != ZEROS[: len(block)]:
                blocks[at] = block
            at += len(block)
    return at, blocks
