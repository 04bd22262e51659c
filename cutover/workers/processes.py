"""Names for processes, by which another process of the same host can see whether one still runs.

A name is the host, the process number and when that process began, in ticks since the host did: numbers are given out
again, in a container within minutes.
"""

import os
import socket
from contextlib import suppress
from pathlib import Path


def own_name() -> str:
    """This process's name: ``host/boot/space:number:began``; without the parts that only Linux has, elsewhere."""
    return f"{_host()}:{os.getpid()}:{_began(os.getpid()) or ''}"


def number(name: str) -> str:
    """The process number in a name, for people to look for."""
    return [*name.split(":"), ""][1]


def celery_of(name: str) -> str:
    """The version of celery that a worker's name, or the mark of one of its runs, gives; empty where it gives none."""
    return [*name.split(":"), *[""] * 5][4]


def with_node(name: str, node: str) -> str:
    """A worker's name, and after it celery's own name of that worker; its host is not said twice."""
    host, at = name.partition("/")[0], f"{node.partition('@')[0]}@"
    return f"{name}:{at if node == at + host else node}" if node else name


def shown(mark: str) -> str:
    """The worker of a run's mark, for people: celery's name of it, as ``celery@host``, else its host and number."""
    name = mark.partition(" ")[2] or mark
    host, pid, *others = [*name.split(":", 5), ""]
    host, node = host.partition("/")[0], others[3] if len(others) > 4 else ""
    if node:
        return node + host if node.endswith("@") else node
    return f"{host}:{pid}" if pid else name


def has_ended(name: str) -> bool | None:
    """Whether the process of that name has ended; None when that cannot be seen from here."""
    host, pid, began, *_ = [*name.split(":"), "", "", ""]
    if host != _host() or not pid.isdigit():
        return None
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # another user's runs
    now = _began(int(pid))
    if now is None:
        return None if began else False  # hidden from this user; or not known here, and the number has to do
    return now != began


def _host() -> str:
    """This host, since which boot, and which of its process number spaces: machines and containers may share a name."""
    boot = _read("/proc/sys/kernel/random/boot_id") or ""
    space = ""
    with suppress(OSError):  # no Linux, no containers
        space = str(Path("/proc/self/ns/pid").readlink())
    return f"{socket.gethostname()}/{boot[:8]}/{''.join(c for c in space if c.isdigit())}"


def _began(pid: int) -> str | None:
    """When the process began; None where nobody says so, empty for one that has ended and waits for its parent."""
    stat = _read(f"/proc/{pid}/stat")
    if stat is None:
        return None
    fields = stat.rpartition(")")[2].split()  # a program's name may hold anything, also a bracket
    return "" if fields[0] == "Z" else fields[19]


def _read(file: str) -> str | None:
    with suppress(OSError):
        return Path(file).read_text()
    return None
