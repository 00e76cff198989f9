"""Names of processes, and whether one is certainly dead: what a crash left then need not wait for its expiry."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


def _start_ticks(pid: int) -> str | None:
    """Start time of a process in clock ticks since boot: field 22 of proc_pid_stat(5); None when there is none.

    One that has ended and waits for its parent to notice (state Z) has another answer: it does nothing any more.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return "ended" if state == "Z" else fields[18]


@cache
def _here() -> str | None:
    """This boot of this machine and this namespace of process ids; None where /proc does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return None


def me() -> str:
    """A name of this process that no other process ever has, as far as the system can tell."""
    pid = os.getpid()
    return f"{_here()}:{pid}:{_start_ticks(pid)}"


def is_certainly_dead(owner: str) -> bool:
    """True only when the owner ran on this machine, since this boot, in our namespace of process ids, and is gone."""
    where, *process = owner.rsplit(":", 2)
    if where != _here() or len(process) != 2 or not process[0].isdecimal():
        return False
    pid, started = process
    now = _start_ticks(int(pid))
    return _is_gone(int(pid)) if now is None else now != started


def _is_gone(pid: int) -> bool:
    """/proc may hide the processes of others (hidepid, proc(5)); kill(2) tells all the same."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False
