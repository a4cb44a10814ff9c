"""Owns what an operator looks at after a step: the tools' tables, lines and JSON, and the pages.

Never changes the cluster. Invariant: a look is of one leadership; if somebody was elected meanwhile,
it is taken again, so what it shows is a state that existed.
"""

from .waits import until

ELECTIONS_MAX = 5
TABLES = ("endpoint status", "endpoint health", "endpoint hashkv", "member list")


def look(operator, whole=False, old=False, pages=False):
    """Tables of everything; `whole`: in all shapes; `old`: also through etcdctl 3.4."""
    for _ in range(ELECTIONS_MAX):
        operator.settle()
        before, mark = pulse(operator), len(operator.entries)
        _look(operator, whole, old, pages)
        if pulse(operator) == before:
            return
        operator.forget(mark)
    raise RuntimeError(f"{ELECTIONS_MAX} elections in {ELECTIONS_MAX} looks: the machine is too busy")


def pulse(operator):
    """Term and leader, as every member that runs sees them."""
    def all_answer():
        return {name: (status.raftTerm, status.leader)
                for name, status in operator.statuses().items()}
    return until("all members answer Status", 20, all_answer)


def _look(operator, whole, old, pages):
    running = operator.running()
    for words in TABLES:
        at = [running[0]] if words == "member list" else running
        shapes = ("table", "json", "simple") if whole else ("table",)
        for shape in shapes:
            operator.ctl(*words.split(), "-w", shape, at=at)
            if old and shape != "simple":
                operator.ctl(*words.split(), "-w", shape, at=at, version="3.4")
    if whole:
        operator.ctl("endpoint", "status", "--cluster", "-w", "table", at=[running[0]])
    if pages:
        for name in running:
            operator.pages(name)
