"""Owns the laws of refusing: words that make no sense, and machines that cannot carry the server.

Invariant: what is refused at the command line leaves no trace on disk, and a remedy that is printed
is tried as printed.
"""

import json
import os
import re

from .place import Place, check, run_once

# Words, exit status, and the one line that says why. The statuses are those of etcd.
BAD_WORDS = [
    (["--no-such-flag=1"], 2, "flag provided but not defined: -no-such-flag"),
    (["--quota-backend-bytes"], 2, "flag needs an argument: -quota-backend-bytes"),
    (["--heartbeat-interval=soon"], 2,
     'invalid value "soon" for flag -heartbeat-interval: parse error'),
    (["--listen-client-urls=nonsense"], 2,
     'invalid value "nonsense" for flag -listen-client-urls: URL scheme must be http, https, '
     "unix, or unixs: nonsense"),
    (["--log-level=loud"], 2, 'panic: unrecognized level: "loud"'),
    (["stray"], 1, "'stray' is not a valid flag"),
    (["--config-file=nowhere.yml"], 1, "open nowhere.yml: no such file or directory"),
]
# What the file holds, and what the reason must say. A setting that nobody knows is passed over, as
# etcd does.
BAD_FILES = [
    ("name: [unclosed", "line 1"),
    ("heartbeat-interval: soon\n", "heartbeat-interval of type uint"),
    ("\0\1\2", "control characters are not allowed"),
    ("initial-cluster-state: perhaps\n", "perhaps"),
]
MEMLOCK_KIB = 64


def words_that_make_no_sense_are_refused_in_one_line(bench):
    for at, (words, status, line) in enumerate(BAD_WORDS):
        _refused(bench, f"words-{at}", words, status, line)


def a_config_file_that_makes_no_sense_is_refused_in_one_line(bench):
    for at, (text, wanted) in enumerate(BAD_FILES):
        path = f"{bench.home}/config-{at}.yml"
        with open(path, "w") as out:
            out.write(text)
        reason = _refused(bench, f"file-{at}", [f"--config-file={path}"], 1, None)
        check(wanted in reason, f"{text!r} is refused with {reason!r}")


def a_place_that_cannot_be_used_is_named(bench):
    """A file where the directory should be, a port that is taken, etcd's own directory."""
    taken = Place(bench, "taken").start()
    try:
        in_file = f"{_empty_home(bench, 'in-file')}/data"
        with open(in_file, "w"):
            pass
        foreign = f"{_empty_home(bench, 'foreign')}/data"
        os.makedirs(f"{foreign}/member/snap")
        with open(f"{foreign}/member/snap/db", "w"):
            pass
        for name, flag, wanted in [
            ("file", f"--data-dir={in_file}", in_file),
            ("etcd", f"--data-dir={foreign}", f"{foreign}/member/snap/db belongs to an etcd"),
            ("port", f"--listen-client-urls=http://{taken.endpoint}", taken.endpoint),
        ]:
            _ends_with(Place(bench, f"unusable-{name}", [flag]), wanted)
    finally:
        taken.destroy()


def a_remedy_for_locked_memory_is_enough_as_printed(bench):
    said = _ends_with(Place(bench, "memlock", confined=["memlock", str(MEMLOCK_KIB)]),
                      f"only {MEMLOCK_KIB * 1024} bytes may be locked in memory")
    check("LimitMEMLOCK=infinity in the systemd unit" in said, f"no word of systemd: {said}")
    remedy = re.search(r"`ulimit -l (\d+)`", said)
    check(remedy is not None, f"no limit is named: {said}")
    place = Place(bench, "memlock-raised", confined=["memlock", remedy.group(1)])
    try:
        status = place.start_or_end()
        check(status is None, f"with the limit that it asked for it ended with {status}")
    finally:
        place.destroy()


def a_kernel_without_io_uring_is_named_with_its_remedy(bench):
    for error, wanted in (("EPERM", ("seccomp profile", "kernel.io_uring_disabled=0")),
                          ("ENOSYS", ("older than 5.8",))):
        said = _ends_with(Place(bench, f"ring-{error}", confined=["io_uring", error]),
                          "io_uring is not available")
        for word in wanted:
            check(word in said, f"{error}: no word of {word!r}: {said}")


def _ends_with(place, wanted):
    """The server ends with status 1 and one reason that holds `wanted`; answers what it said."""
    try:
        status = place.start_or_end()
        said = place.said()
        check(status == 1, f"it ended with {status}: {said}")
        reasons = set(_reasons(said))
        check(len(reasons) == 1, f"it gave {len(reasons)} reasons: {said}")
        check(wanted in said, f"{wanted!r} is not what it said: {said}")
        return said
    finally:
        place.destroy()


def _refused(bench, name, words, status, line):
    home = _empty_home(bench, name)
    argv = [bench.binary, f"--data-dir={home}/data", *words]
    found, out, err = run_once(argv, home)
    check(found == status, f"{words} end with {found}, not {status}: {err}")
    reasons = _reasons(err)
    check(len(reasons) == 1, f"{words} are refused with {reasons}")
    check(line is None or reasons == [line], f"{words} are refused with {reasons}, not {line!r}")
    check(out == "", f"{words} print {out!r}")
    check(os.listdir(home) == [], f"{words} leave {os.listdir(home)}")
    return reasons[0]


def _empty_home(bench, name):
    home = f"{bench.home}/{name}"
    os.makedirs(home)
    return home


def _reasons(err):
    """The reasons given: the errors of the journal's lines, or the first line of plain text."""
    lines = err.splitlines()
    if not lines or not lines[0].startswith("{"):
        return lines[:1]
    told = [json.loads(line) for line in lines]
    return [line["error"] for line in told if line["level"] != "info" and "error" in line]
