"""Owns the running of one case on one server: steps in, a transcript out. Never compares.

Verbs beside an etcdctl command line:

    @lease NAME TTL            grants a lease; {NAME} is then its id
    @rev NAME                  {NAME} is then the current revision; {NAME+1} and {NAME-2} work too
    @show TEXT                 prints the text (to compare computed names)
    @bg NAME ARGS              starts etcdctl in the background
    @watch NAME ARGS           the same, and waits until the server has one more watcher
    @send NAME TEXT, @eof NAME writes a line to its standard input, closes it
    @until NAME TEXT           waits until its standard output holds TEXT
    @stop NAME [INT|TERM]      ends it and records what it printed; @wait NAME: it ends by itself
    @http METHOD PATH [BODY]   one plain HTTP request; records status, type, allow and body
    @sleep SECONDS
    @gone KEY SECONDS          waits until the key is gone (lease expiry)
    @env NAME=VALUE            for all later etcdctl lines of the case
    @size FILE MODULUS         records the file's size modulo MODULUS
    @metrics NAME [value]      type and label names of a metric, or its value
    @restart TERM|KILL         ends the server and starts it again on its data
    @mirror NAME ARGS          etcdctl make-mirror onto the same server, in the background

Invariant: one entry of the transcript per step, in order, on both sides.
"""

import json
import os
import re
import signal
import subprocess
import threading
import time

COMMAND_SECONDS_MAX = 20.0
UNTIL_SECONDS_MAX = 8.0
SETTLE_SECONDS = 0.15
WATCHER_GAUGE = re.compile(r"^etcd_debugging_mvcc_watcher_total (\S+)", re.M)
VARIABLE = re.compile(r"\{(\w+)([+-]\d+)?\}")


class Background:
    """An etcdctl that runs beside the case; its output is read as it comes."""

    def __init__(self, argv, environment):
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment,
        )
        self.out, self.err = bytearray(), bytearray()
        self.watchers = 0.0  # what the server's gauge showed when it began to watch
        self.readers = [
            threading.Thread(target=self._read, args=pair, daemon=True)
            for pair in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for reader in self.readers:
            reader.start()

    @staticmethod
    def _read(pipe, into):
        while chunk := pipe.read1(65536):
            into += chunk

    def finish(self, seconds):
        """(exit status or 'timeout', stdout, stderr)."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = "timeout"
        for reader in self.readers:
            reader.join(2.0)
        return status, bytes(self.out), bytes(self.err)


class Side:
    """One server, one etcdctl, one case: `run` gives the list of (step, text)."""

    def __init__(self, case, server, ctl, masker, tmp, ids):
        self.case = case
        self.server = server
        self.ctl = ctl
        self.masker = masker
        self.tmp = tmp
        self.variables = {"p": f"{case.group}{case.number:03d}/", "tmp": tmp,
                          "EP": server.endpoint, "port": str(server.port),
                          "member": f"{ids.get('member', 0):x}"}
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
        self.environment["ETCDCTL_API"] = "3"
        self.background = {}
        self.latency_ns = []

    def run(self):
        os.makedirs(self.tmp, exist_ok=True)
        entries = []
        try:
            for step in self.case.steps:
                entries.append((step.line, self._step(step)))
        finally:
            for background in self.background.values():
                background.process.kill()
                background.finish(2.0)
        return entries

    def _step(self, step):
        words = [self._expand(word) for word in step.words]
        if step.verb == "ctl":
            return self._command(words, self._expand(step.stdin))
        return getattr(self, "_do_" + step.verb)(*words)

    def _expand(self, word):
        def one(match):
            name, plus = match.groups()
            if name not in self.variables:
                return match.group(0)
            value = self.variables[name]
            return str(int(value) + int(plus)) if plus else str(value)

        return VARIABLE.sub(one, word)

    def _argv(self, words):
        """`--endpoints` may be given in the case; then ours stays away."""
        if any(word.startswith("--endpoints") for word in words):
            return [self.ctl, *words]
        return [self.ctl, f"--endpoints={self.server.endpoint}", *words]

    def _command(self, words, stdin):
        before = time.monotonic_ns()
        try:
            done = subprocess.run(
                self._argv(words), input=stdin.encode(), capture_output=True,
                env=self.environment, timeout=COMMAND_SECONDS_MAX,
            )
            status, out, err = done.returncode, done.stdout, done.stderr
        except subprocess.TimeoutExpired as late:
            status, out, err = "timeout", late.stdout or b"", late.stderr or b""
        self.latency_ns.append(time.monotonic_ns() - before)
        return self._entry(status, out, err, words)

    def _entry(self, status, out, err, words=()):
        style = self._style(words)
        if style == "protobuf" and status == 0:
            shown = self.masker.protobuf(out)
        elif style == "table":
            shown = self.masker.table(out.decode(errors="backslashreplace"))
        else:
            shown = self.masker.text(out.decode(errors="backslashreplace"))
        errors = self.masker.text(err.decode(errors="backslashreplace"))
        return f"exit {status}\n" + _indent("out", shown) + _indent("err", errors)

    @staticmethod
    def _style(words):
        for at, word in enumerate(words):
            if word in ("-w", "--write-out"):
                return words[at + 1] if at + 1 < len(words) else ""
            if word.startswith("--write-out="):
                return word.removeprefix("--write-out=")
            if word.startswith("-w="):
                return word[3:]
        return ""

    def _quiet(self, *words):
        done = subprocess.run(
            [self.ctl, f"--endpoints={self.server.endpoint}", *words], capture_output=True,
            text=True, env=self.environment, timeout=COMMAND_SECONDS_MAX,
        )
        return done.stdout

    def _do_lease(self, name, ttl):
        out = self._quiet("lease", "grant", ttl, "-w", "json")
        try:
            reply = json.loads(out)
        except ValueError:
            return f"no lease: {self.masker.text(out)}"
        number = reply["ID"]
        self.masker.lease(name, number)
        self.variables[name] = f"{number:x}"
        self.variables[name + "dec"] = str(number)
        return f"granted {name} ttl {reply.get('TTL')}"

    def _do_rev(self, name):
        out = self._quiet("get", "no such key", "-w", "json")
        try:
            self.variables[name] = json.loads(out)["header"]["revision"]
        except (ValueError, KeyError):
            return f"no revision in {self.masker.text(out)!r}"
        return f"revision {self.variables[name]}"

    def _do_show(self, *words):
        return self.masker.text(" ".join(words))

    def _do_env(self, pair):
        name, value = pair.split("=", 1)
        self.environment[name] = value
        return f"{name} set"

    def _do_bg(self, name, *words):
        self.background[name] = Background(self._argv(words), self.environment)
        return "started"

    def _ended(self, background):
        """A watcher that is gone must also be gone from the gauge, for the next case's count."""
        deadline = time.monotonic() + 1.0
        while background.watchers and time.monotonic() < deadline:
            if (self._watchers() or 0) < background.watchers:
                return
            time.sleep(0.02)

    def _do_mirror(self, name, *words):
        return self._do_bg(name, "make-mirror", *words, self.server.endpoint)

    def _do_watch(self, name, *words):
        before = self._watchers()
        self._do_bg(name, "watch", *words)
        self._await_one_more(name, before)
        return "watching"

    def _watchers(self):
        try:
            status, _, text = self.server.http("GET", "/metrics")
        except OSError:
            return None
        found = WATCHER_GAUGE.search(text)
        return float(found.group(1)) if status == 200 and found else None

    def _await_one_more(self, name, before):
        """Until the watch is registered; a server without the gauge gets a fixed time."""
        if before is None:
            time.sleep(0.6)
            return
        deadline = time.monotonic() + UNTIL_SECONDS_MAX
        while time.monotonic() < deadline:
            if (self._watchers() or 0) >= before + 1:
                self.background[name].watchers = before + 1
                return
            time.sleep(0.02)

    def _do_send(self, name, *words):
        text = " ".join(words)
        before = self._watchers()
        pipe = self.background[name].process.stdin
        try:
            pipe.write((text + "\n").encode())
            pipe.flush()
        except BrokenPipeError:
            return "it had ended"
        if text.startswith("watch "):
            self._await_one_more(name, before)
        return "sent"

    def _do_eof(self, name):
        self.background[name].process.stdin.close()
        return "closed"

    def _do_until(self, name, *words):
        wanted = " ".join(words).encode()
        deadline = time.monotonic() + UNTIL_SECONDS_MAX
        background = self.background[name]
        while time.monotonic() < deadline:
            if wanted in bytes(background.out):
                return "seen"
            time.sleep(0.01)
        return f"not seen in {UNTIL_SECONDS_MAX:.0f} s"

    def _do_stop(self, name, how="TERM"):
        time.sleep(SETTLE_SECONDS)
        background = self.background.pop(name)
        background.process.send_signal({"INT": signal.SIGINT, "TERM": signal.SIGTERM}[how])
        entry = self._entry(*background.finish(5.0))
        self._ended(background)
        return entry

    def _do_wait(self, name):
        background = self.background.pop(name)
        entry = self._entry(*background.finish(UNTIL_SECONDS_MAX))
        self._ended(background)
        return entry

    def _do_sleep(self, seconds):
        time.sleep(float(seconds))
        return "slept"

    def _do_gone(self, key, seconds):
        """The key must go within `seconds`; etcd lets it live a little longer than its TTL."""
        deadline = time.monotonic() + float(seconds)
        while time.monotonic() < deadline:
            if self._quiet("get", key) == "":
                return "gone"
            time.sleep(0.2)
        return f"still there after {seconds} s"

    def _do_http(self, method, path, body=None):
        try:
            status, headers, text = self.server.http(method, path, body)
        except OSError as error:
            return f"no answer: {type(error).__name__}"
        kept = {k.lower(): v for k, v in headers.items()}
        lines = [f"status {status}"]
        for name in ("content-type", "allow", "x-content-type-options"):
            if name in kept:
                lines.append(f"{name}: {kept[name]}")
        return "\n".join(lines) + "\n" + _indent("body", self.masker.text(text))

    def _do_size(self, path, modulus):
        if not os.path.exists(path):
            return "no such file"
        return f"size % {modulus} = {os.path.getsize(path) % int(modulus)}"

    def _do_metrics(self, name, value=None):
        text = self.server.http("GET", "/metrics")[2]
        kind = re.search(rf"^# TYPE {name} (\S+)$", text, re.M)
        if kind is None:
            return f"no {name}"
        samples = re.findall(rf"^{name}(?:_bucket|_sum|_count)?(?:\{{(.*)\}})? (\S+)$", text, re.M)
        if value is not None:
            return " ".join(f"{float(number):g}" for _, number in samples)
        labels = {label for inside, _ in samples for label in re.findall(r'(\w+)="', inside)}
        return f"{kind.group(1)} {sorted(labels)}"

    def _do_restart(self, how):
        status = self.server.stop({"TERM": signal.SIGTERM, "KILL": signal.SIGKILL}[how])
        self.server.start()
        return f"ended with {status}, started again" if how == "KILL" else "started again"


def _indent(name, text):
    if not text:
        return ""
    lines = text.split("\n")
    last = "" if lines[-1] == "" else "  (no newline at the end)\n"
    if lines[-1] == "":
        lines.pop()
    return "".join(f"  {name}| {line}\n" for line in lines) + last
