"""Owns the language of the case files: text in, cases with steps out. Never runs anything.

A case file is a list of cases:

    # a comment
    case put tells the revision
    : only 3.5                   options: only VERSION | needs SERVICE | server FLAGS | exact
    put {p}a 1                   a line is an etcdctl command line ({p} = the case's own prefix)
    put {p}b                     lines beginning with `<` are its standard input
    < from stdin
    <@70000 x                    seventy thousand times x
    @lease L 60                  a verb of the harness (see steps.py)

Invariant: a case has a unique name and at least one step.
"""

import os
import shlex
from dataclasses import dataclass, field

VERBS = (
    "lease rev bg watch send eof until wait stop http sleep gone env size restart metrics show "
    "mirror"
).split()


class ScriptError(Exception):
    """A case file that does not follow the language; the message names file and line."""


@dataclass
class Step:
    """One line: a verb ('ctl' for an etcdctl command line), its words, its standard input."""

    verb: str
    words: list
    line: str
    stdin: str = ""


@dataclass
class Case:
    """A named list of steps with the conditions under which they run."""

    name: str
    group: str
    number: int
    steps: list = field(default_factory=list)
    only: str = ""
    needs: str = ""
    server: list = field(default_factory=list)
    own_server: bool = False
    exact: bool = False


def parse(path):
    """All cases of one file, in order."""
    group = os.path.splitext(os.path.basename(path))[0]
    cases = []
    with open(path) as text:
        for number, raw in enumerate(text, 1):
            line = raw.rstrip("\n")
            try:
                _line(cases, group, line)
            except (ScriptError, ValueError) as error:
                raise ScriptError(f"{path}:{number}: {error}") from error
    names = [case.name for case in cases]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ScriptError(f"{path}: more than one case is called {sorted(twice)}")
    empty = [case.name for case in cases if not case.steps]
    if empty:
        raise ScriptError(f"{path}: no step in {empty}")
    return cases


def _line(cases, group, line):
    if line.startswith("<@"):
        count, text = line[2:].split(" ", 1)
        cases[-1].steps[-1].stdin += text * int(count)
        return
    if line.startswith("<"):
        cases[-1].steps[-1].stdin += line[2:] + "\n"
        return
    line = line.strip()
    if not line or line.startswith("#"):
        return
    if line.startswith("case "):
        cases.append(Case(name=line[5:].strip(), group=group, number=len(cases)))
    elif not cases:
        raise ScriptError("a step before the first case")
    elif line.startswith(": "):
        _option(cases[-1], line[2:].split())
    elif line.startswith("@"):
        verb, *words = shlex.split(line[1:])
        if verb not in VERBS:
            raise ScriptError(f"unknown verb @{verb}")
        cases[-1].steps.append(Step(verb, words, line))
    else:
        cases[-1].steps.append(Step("ctl", shlex.split(line), line))


def _option(case, words):
    match words:
        case ["only", version]:
            case.only = version
        case ["needs", service]:
            case.needs = service
        case ["server", *flags]:
            case.server = flags
            case.own_server = True
        case ["exact"]:
            case.exact = True
        case _:
            raise ScriptError(f"unknown option {words}")
