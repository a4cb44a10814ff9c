"""Owns the laws of data directories that are not as they were left: a newer format, a flipped byte.

Invariant: the damaged directory is written from an image in memory for every trial, so trials do
not touch each other.
"""

import itertools
import os
import random
import signal
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

from interop import pb

from .image import BLOCK, Image
from .place import Place, Violation, check
from .store import Store

MANIFEST = "member/store/manifest"
MAGIC = b"RLMANIF1"
SLOT_BYTES = 65536
VERSION_AT, LENGTH_AT, SUM_AT, HEADER_BYTES = 8, 12, 88, 92
# What an operator can do; one of these must be in every refusal.
REMEDIES = ("restore the data directory from a backup", "start the newer version")
LANES = 2


def a_newer_format_is_refused_and_left_alone(bench):
    image, _ = _filled(bench, "newer")
    for name, slots in (("both slots", (0, 1)), ("the first slot", (0,)), ("the second", (1,))):
        found, newer = None, image
        for slot in slots:
            found, newer = _newer_slot(newer, slot)
        place = Place(bench, f"newer-{''.join(map(str, slots))}")
        try:
            newer.write(place.data)
            status = place.start_or_end()
            check(status is not None and status > 0, f"{name}: it ended with {status}")
            said = place.said()
            wanted = f"has format {found + 1}, this program knows up to {found}"
            check(wanted in said, f"{name}: it said {said}")
            place.stop()
            changed = newer.differences(Image.read(place.data))
            check(not changed, f"{name}: {changed} changed")
        finally:
            place.destroy()


def _newer_slot(image, slot):
    """(format found, the image with the format of this slot one higher and its checksum right)."""
    start = slot * SLOT_BYTES
    head = bytearray(image.bytes(MANIFEST, start, HEADER_BYTES))
    check(head[:8] == MAGIC, f"slot {slot} of the manifest was never written")
    found, = struct.unpack_from("<H", head, VERSION_AT)
    length, = struct.unpack_from("<I", head, LENGTH_AT)
    struct.pack_into("<H", head, VERSION_AT, found + 1)
    struct.pack_into("<I", head, SUM_AT, 0)
    body = image.bytes(MANIFEST, start + HEADER_BYTES, length)
    struct.pack_into("<I", head, SUM_AT, zlib.crc32(bytes(head) + body))
    return found, image.with_bytes(MANIFEST, start, bytes(head))


def a_flipped_byte_is_noticed_or_does_not_matter(bench):
    image, store = _filled(bench, "flips")
    flips = list(itertools.islice(_flips(image, bench.seed), bench.flips))
    with ThreadPoolExecutor(LANES) as pool:
        refused = sum(pool.map(lambda at: _try_flip(bench, image, store, at, *flips[at]),
                               range(len(flips))))
    files = len({flip[0] for flip in flips})
    check(files == len([name for name in image.files if image.files[name][1]]),
          f"{len(flips)} flips do not reach every file")
    return f"{len(flips)} flips in {files} files, {refused} refused, the others harmless"


def _flips(image, seed):
    """Endless (file, offset, bits), every file in turn, only where something was ever written."""
    dice = random.Random(seed)
    used = {name: sorted(blocks) for name, (_, blocks) in sorted(image.files.items()) if blocks}
    while True:
        for name, blocks in used.items():
            start = dice.choice(blocks)
            block = image.files[name][1][start]
            end = len(block.rstrip(b"\0"))
            # Some of the zeros behind what was written, too.
            yield name, start + dice.randrange(min(end + 16, BLOCK)), dice.randrange(1, 256)


def a_missing_file_is_noticed_or_does_not_matter(bench):
    image, store = _filled(bench, "missing")
    refused = 0
    for at, name in enumerate(sorted(image.files)):
        refused += _try(bench, f"missing-{at}", image.without(name), store, name, f"no {name}")
    return f"{len(image.files)} files, {refused} refused, the others harmless"


def _try_flip(bench, image, store, number, name, offset, bits):
    old = image.bytes(name, offset, 1)
    damaged = image.with_bytes(name, offset, bytes([old[0] ^ bits]))
    where = f"byte {offset} of {name} xor {bits:#04x}"
    return _try(bench, f"flip-{number}", damaged, store, name, where)


def _try(bench, trial, damaged, store, name, where):
    """True if the server refused. Raises if it serves what is wrong, or neither serves nor ends."""
    place = Place(bench, trial)
    try:
        damaged.write(place.data)
        if place.start_or_end() is None and _serves_all(place, store):
            return False
        _check_refusal(place, name)
        return True
    except Violation as violation:
        raise Violation(f"{where}: {violation}") from None
    finally:
        place.destroy()


def _serves_all(place, store):
    """True if everything is there and the server goes on; False if it ends itself meanwhile."""
    api = pb.Api(place.endpoint)
    try:
        store.verify(api)
        after = store.copy()
        after.go_on(api)
        after.verify(api)
        return True
    except pb.Failed as failed:
        check(failed.code in ("UNAVAILABLE", "CANCELLED"), f"a call ended with {failed}")
        place.ended()
        return False
    finally:
        api.close()


def _check_refusal(place, name):
    status, said = place.process.wait(), place.said()
    check(status == 1, f"it ended with {status}: {said}")
    check(os.path.basename(name) in said, f"it does not name {name}: {said}")
    check(any(remedy in said for remedy in REMEDIES), f"it does not say what to do: {said}")


def _filled(bench, name):
    """(the image of a cleanly stopped directory, what is in it)."""
    place = Place(bench, name)
    store = Store(bench.seed)
    try:
        place.start()
        api = pb.Api(place.endpoint)
        store.fill(api)
        store.verify(api)
        api.close()
        check(place.stop(signal.SIGTERM) == -signal.SIGTERM, "it did not stop in order")
        return Image.read(place.data), store
    finally:
        place.destroy()
