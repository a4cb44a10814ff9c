"""Owns what may differ between two servers: ids, times, raft terms and indexes, sizes, ports, took,
and the two spellings of one hang-up.

Never looks at keys, values, revisions, texts, order or exit codes. Invariant: a masked value leaves
a name in its place, so that a missing or surplus field still shows.
"""

import base64
import re

# How far below what was granted the remaining time may be and still count as whole.
NEAR_SECONDS = 5


def _remaining(match):
    """What is left of a lease moments after its grant differs by the second that has passed."""
    left, granted = int(match[1]), int(match[2])
    near = 0 <= granted - left <= NEAR_SECONDS
    return f'"TTL" : {"<near>" if near else left}\n"GrantedTTL" : {granted}'


PATTERNS = [
    # an etcdctl that panics prints addresses; its message stays
    (r"^goroutine \d+ \[running\]:\n(.|\n)*", "<goroutine>\n"),
    # etcdctl's own log lines: a time and the address of a Go object or a random client name.
    (r'"ts":("[^"]*"|[0-9.e+]+)', '"ts":<time>'),
    (r"etcd-endpoints://0x[0-9a-f]+/", "etcd-endpoints://<pointer>/"),
    (r"endpoint://client-[0-9a-f-]+/", "endpoint://<client>/"),
    (r"^\d{4}[-/]\d\d[-/]\d\d \d\d:\d\d:\d\d(\.\d+)?", "<time>"),
    (r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "<time>"),
    # the lease that lock and elect make for themselves, at the end of their key
    (r"/[0-9a-f]{13,16}$", "/<lease>"),
    # Who says hello in TLS to a plain port is hung up on while bytes of that hello are still unread:
    # the kernel then sends a reset after the end, and whether the client read the end first is a
    # race inside its own machine. Either spelling says "closed without an answer".
    (
        r"authentication handshake failed: "
        r"(?:EOF|read tcp 127\.0\.0\.1:\d+-><EP>: read: connection reset by peer)",
        "authentication handshake failed: <hung up>",
    ),
    # times; a keep-alive that goes on prints as often as there was time
    (r"took = [0-9.µmns]+", "took = <took>"),
    (r'"took":"[^"]*"', '"took":<took>'),
    (r'"Took" : \S+', '"Took" : <took>'),
    (r"^(lease .+ keepalived with TTL\(\d+\)\n)\1+", r"\1"),
    (r"fetched snapshot from.*took.*", "fetched snapshot <took>"),
    (r'"took":"?[0-9.]+"?', '"took":<took>'),
    (r"remaining\(\d+s\)", "remaining(<ttl>s)"),
    (r'"TTL" : (\d+)\n"GrantedTTL" : (\d+)', _remaining),
    # raft terms and indexes
    (r'"raft_term":"?\d+"?', '"raft_term":<term>'),
    (r'"RaftTerm" : \d+', '"RaftTerm" : <term>'),
    (r'"(raftIndex|raftTerm|raftAppliedIndex)":\d+', r'"\1":<raft>'),
    (r'"(RaftIndex|RaftTerm|RaftAppliedIndex)" : \d+', r'"\1" : <raft>'),
    # sizes
    (r'"(dbSize|dbSizeInUse)":\d+', r'"\1":<size>'),
    (r'"DBSize" : \d+', '"DBSize" : <size>'),
    (r'"size":"[0-9.]+ [kMG]?B"', '"size":<size>'),
    # the one line of `endpoint status`
    (
        r"(<EP>, \S+, [^,]+), [0-9.]+ [kMG]?B, (true|false), (true|false), \d+, \d+, \d+,",
        r"\1, <size>, \2, \3, <term>, <raft>, <raft>,",
    ),
]
COMPILED = [(re.compile(pattern, re.M), to) for pattern, to in PATTERNS]


class Masker:
    """The masks of one side of one case: the patterns above plus the ids of that server."""

    # Columns of tables.
    MOVING = ("DB SIZE", "RAFT TERM", "RAFT INDEX", "RAFT APPLIED INDEX", "TOOK")

    def __init__(self, server, ids, tmp, exact):
        self.literals = [(tmp, "<tmp>")]
        for text in (f"http://127.0.0.1:{server.port}", server.endpoint):
            self.literals.append((text, "<EP>"))
        self.literals.append((f":{server.peer_port}", ":<peer port>"))
        if not exact:
            for name, number in ids.items():
                self._number(number, name)
        self.leases = {}

    def _number(self, number, name):
        self.literals.append((f"{number:016x}", f"<{name}>"))
        if f"{number:x}" != f"{number:016x}":
            self.literals.append((f"{number:x}", f"<{name}>"))
        self.literals.append((str(number), f"<{name}>"))

    def lease(self, name, number):
        """From now on this number is the lease called `name`."""
        self.leases[number] = name
        self._number(number, f"lease {name}")

    def text(self, text):
        for literal, name in self.literals:
            text = text.replace(literal, name)
        for pattern, to in COMPILED:
            text = pattern.sub(to, text)
        return text

    def table(self, text):
        """A table without its widths: cells only, since a masked cell changes the box."""
        lines = []
        for line in self.text(text).splitlines():
            if line.startswith("+-"):
                lines.append("+---")
            elif line.startswith("|"):
                cells = [cell.strip() for cell in line.strip("|").split("|")]
                lines.append(" | ".join(self._cell(cell) for cell in cells))
            else:
                lines.append(line)
        header = next((line for line in lines if set(self.MOVING) & set(line.split(" | "))), None)
        if header:
            lines = [self._by_header(header.split(" | "), line) for line in lines]
        return "\n".join(lines) + "\n"

    @staticmethod
    def _cell(cell):
        return cell

    def _by_header(self, names, line):
        cells = line.split(" | ")
        if len(cells) != len(names) or cells == names:
            return line
        return " | ".join(
            f"<{name.lower()}>" if name in self.MOVING else cell
            for name, cell in zip(names, cells)
        )

    def protobuf(self, data):
        """A message as lines `path: value`; ids and term of the header (field 1) are masked."""
        lines = []
        try:
            self._message(data, "", lines)
        except (IndexError, ValueError):
            return "not protobuf: " + base64.b64encode(data).decode() + "\n"
        return "".join(line + "\n" for line in lines)

    def _message(self, data, path, lines):
        at = 0
        while at < len(data):
            tag, at = _varint(data, at)
            number, kind = tag >> 3, tag & 7
            here = f"{path}{number}"
            if kind == 0:
                value, at = _varint(data, at)
                lines.append(f"{here}: {self._scalar(here, value)}")
            elif kind == 2:
                size, at = _varint(data, at)
                part, at = data[at : at + size], at + size
                if len(part) != size:
                    raise ValueError("cut short")
                if here == "1":
                    self._message(part, "1.", lines)
                else:
                    lines.append(f"{here}: {self.text(_printable(part))}")
            else:
                raise ValueError(f"wire type {kind}")

    def _scalar(self, path, value):
        masked = {"1.1": "<cluster>", "1.2": "<member>", "1.4": "<term>"}
        if path in masked:
            return masked[path]
        if value in self.leases:
            return f"<lease {self.leases[value]}>"
        return str(value)


def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _printable(data):
    return "".join(chr(b) if 32 <= b < 127 else f"\\x{b:02x}" for b in data)
