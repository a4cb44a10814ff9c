"""Owns what is volatile in the output of a cluster's tools: drawn ids, terms, indexes, sizes, times,
hashes, and the order that follows from drawn ids.

Never hides a row, a field, a text, a revision or an exit code. Invariant: ids that are computed from
URLs and token stay as they are printed; a drawn id becomes the name of its member, and a list that
etcd sorts by id says that it was before it is sorted by name.
"""

import json
import re

from interop import mask

VOLATILE = {
    "raft_term", "raftTerm", "raftIndex", "raftAppliedIndex", "dbSize", "dbSizeInUse", "took", "hash",
}
STATUS = re.compile(
    r"^(<\w+>, [^,]+, [^,]+), [0-9.]+ [kMG]?B, (true|false), (true|false), \d+, \d+, \d+,", re.M
)
HASH = re.compile(r"^(<\w+>), \d+$", re.M)


FOUNDED = re.compile(r"(?<= Members:\[)&\{.*\}(?=\] RemovedMemberIDs)")
# At the end of a time that both have, client or server may speak first: a race inside etcd too.
BOTH_WAITED = (
    ("rpc error: code = Unknown desc = context deadline exceeded", "context deadline exceeded"),
    ("rpc error: code = DeadlineExceeded desc = context deadline exceeded",
     "context deadline exceeded"),
)


ATTEMPT = re.compile(r'"attempt":\d+')


class Masks(mask.Masker):
    """The masks of one cluster; they learn members as the operator meets them."""

    MOVING = (*mask.Masker.MOVING, "HASH")

    def __init__(self, home):
        self.literals = [(home, "<home>")]
        self.leases = {}
        self.drawn = {}

    def place(self, member):
        """From now on the member's URLs print as its name."""
        self.literals += [
            (member.peer_url, f"<{member.name} peer>"),
            (member.url, f"<{member.name} url>"),
            (member.endpoint, f"<{member.name}>"),
            (f"127.0.0.1:{member.peer_port}", f"<{member.name} peer place>"),
        ]

    def draw(self, number, name):
        """The cluster has drawn this id for the member called `name`."""
        self.drawn[number] = f"<id of {name}>"
        # `member add` prints it in sixteen places, filled with blanks.
        self.literals.append((f"Member {number:16x}", f"Member <id of {name}>"))
        self._number(number, f"id of {name}")

    def text(self, text):
        for spelling, one in BOTH_WAITED:
            text = text.replace(spelling, one)
        text = ATTEMPT.sub('"attempt":<attempt>', super().text(text))
        return FOUNDED.sub(_by_peer_urls, text)

    def output(self, words, text):
        """What a command printed, by its words."""
        verb = " ".join(word for word in words if not word.startswith("-"))
        free = verb.startswith(("endpoint health", "member list")) or "--cluster" in words
        if "-w json" in " ".join(words):
            return self._json(text)
        if "-w table" in " ".join(words):
            lines = self.table(text).splitlines()
        else:
            lines = HASH.sub(r"\1, <hash>", STATUS.sub(
                r"\1, <size>, \2, \3, <term>, <raft>, <raft>,", self.text(text))).splitlines()
        # How often a client tried again is a matter of its clock.
        lines = [line for at, line in enumerate(lines)
                 if "retrying of unary" not in line or line not in lines[:at]]
        if verb.startswith("member add"):
            lines = [self._initial(line) for line in lines]
        if free and lines:
            head = 3 if lines[0].startswith("+-") else 0
            tail = len(lines) - 1 if head else len(lines)
            lines = lines[:head] + sorted(lines[head:tail]) + lines[tail:]
        if verb.startswith("member list") and "started" in text:
            lines.append(f"by id: {_ascending(text)}")
        if verb.startswith("endpoint hashkv"):
            lines.append(f"hashes: {_hashes(text)}")
        return "".join(line + "\n" for line in lines)

    @staticmethod
    def _initial(line):
        """The members of ETCD_INITIAL_CLUSTER, which are in the order of their ids, by name."""
        name, equals, value = line.partition("=")
        if name != "ETCD_INITIAL_CLUSTER":
            return line
        return name + equals + ",".join(sorted(value.strip('"').split(",")))

    def _json(self, text):
        try:
            whole = json.loads(text)
        except ValueError:
            return self.text(text)
        notes = ""
        if "members" in whole:
            ids = [one["ID"] for one in whole["members"]]
            notes = f"by id: {ids == sorted(ids)}\n"
            whole["members"].sort(key=lambda one: one["peerURLs"])
        if isinstance(whole, list):
            whole.sort(key=lambda one: one.get("Endpoint", one.get("endpoint", "")))
        return self.text(json.dumps(self._still(whole), indent=1)) + "\n" + notes

    def _still(self, value):
        """The value without what moves; fields keep their order."""
        if isinstance(value, dict):
            return {name: f"<{name}>" if name in VOLATILE else self._still(part)
                    for name, part in value.items()}
        if isinstance(value, list):
            return [self._still(part) for part in value]
        return value

    def members_page(self, text):
        """The list of the peer port."""
        try:
            whole = json.loads(text)
        except ValueError:
            return self.text(text)
        ids = [one["id"] for one in whole]
        whole.sort(key=lambda one: one["peerURLs"])
        return self.text(json.dumps(whole, indent=1)) + f"\nby id: {ids == sorted(ids)}\n"


def _by_peer_urls(members):
    """A refused member prints the list in the order of a Go map."""
    parts = re.split(r" (?=&\{ID:)", members.group())
    return " ".join(sorted(parts, key=lambda part: part.partition("PeerURLs")[2]))


def _ascending(text):
    """Whether the rows are in the order of their ids."""
    ids = [int(found, 16) for found in re.findall(r"^(?:\| +)?([0-9a-f]{8,16})\b", text, re.M)]
    return ids == sorted(ids)


def _hashes(text):
    """Whether all members that answered have computed the same."""
    rows = re.findall(r"^\|? *127\.0\.0\.1:\d+[ |,]+(\d+)[ |]*$", text, re.M)
    return "all equal" if len(set(rows)) == 1 else f"{len(rows)}, not all equal: {rows}"
