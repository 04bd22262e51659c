"""What happened, without asking the code under test: the broker's own record, and what tasks wrote."""

import ast
import datetime as dt
import json
import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from .waiting import wait_until

PUSHED = re.compile(rb'\+(?P<at>[\d.]+) \[[^]]*\] (?P<words>"[LR]PUSH".*)', re.IGNORECASE)
QUIET = dt.timedelta(seconds=0.5)
WORD = re.compile(rb'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """An entry's name and the instant at which it was due, as a message's headers say."""

    due_at: dt.datetime
    entry: str


@dataclass(frozen=True, slots=True)
class Handed:
    """One message that the broker was handed; ``origin``: who made it, ``retries``: how often it was tried before."""

    at: dt.datetime
    task: str
    task_id: str
    slot: Slot | None
    redelivered: bool
    origin: str = ""
    retries: int = 0
    args: str = ""
    """The task's arguments, as a person reads them."""

    @property
    def late(self) -> dt.timedelta:
        """How long after its slot's instant the broker had it."""
        return self.at - self.slot.due_at


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one task, as the task itself wrote it down."""

    at: dt.datetime
    label: str
    task_id: str
    slot: Slot | None


class Monitor:
    """Listens to ``MONITOR`` on the broker and keeps every task message that is pushed to a queue.

    It is read when somebody asks for it: until then whoever sends has the processor.
    """

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=5)
        self._thread = threading.Thread(target=self._listen, name="monitor", daemon=True)
        self._pushed: deque[re.Match[bytes]] = deque()
        self._handed: list[Handed] = []
        self._reading = threading.Lock()
        self._is_over = False

    def __enter__(self) -> Self:
        self._lines = self._socket.makefile("rb")
        self._socket.sendall(b"MONITOR\r\n")
        if not (answer := self._lines.readline()).startswith(b"+OK"):
            raise RuntimeError(f"the broker does not let itself be watched: {answer!r}")
        self._socket.settimeout(None)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._lines.close()
        self._socket.close()

    @property
    def handed(self) -> list[Handed]:
        """What the broker was handed so far, in its order."""
        with self._reading:
            while self._pushed:
                if message := _message(self._pushed.popleft()):
                    self._handed.append(message)
            return self._handed.copy()

    @property
    def published(self) -> list[Handed]:
        """As ``handed``, without what a worker put back unfinished: that was handed over before."""
        return [message for message in self.handed if not message.redelivered]

    def _listen(self) -> None:
        try:
            for line in self._lines:
                if pushed := PUSHED.match(line):
                    self._pushed.append(pushed)
        except ConnectionResetError:
            if not self._is_over:  # at the end it is the answer to what was still on its way
                raise


def read_runs(path: Path) -> list[Run]:
    """The runs that tasks have written to ``path``, one JSON object a line; none where there is no file."""
    if not path.exists():
        return []
    # A line without its end is being written just now: a reader sees a page of the file before the next one.
    whole, _, _ = path.read_text().rpartition("\n")
    return [_run(json.loads(line)) for line in whole.splitlines()]


def wait_until_quiet(monitor: Monitor, runs: Path) -> None:
    """Return when every slot that the broker was handed has run, and the last run is over.

    Raises TimeoutError, naming what has not.
    """

    def unrun() -> list[Handed]:
        ran = per_slot(read_runs(runs))
        return [message for message in monitor.published if message.slot and message.slot not in ran]

    def is_quiet() -> bool:
        return not unrun() and max(run.at for run in read_runs(runs)) < dt.datetime.now(dt.UTC) - QUIET

    try:
        wait_until(is_quiet, "all that was sent has run")
    except TimeoutError as exc:
        raise TimeoutError(f"{exc}; not run: {unrun() or 'none'}") from None


def per_slot(records: Iterable[Handed | Run]) -> dict[Slot, int]:
    """How many of ``records`` each slot has; what belongs to no slot is left out."""
    counts: dict[Slot, int] = {}
    for record in records:
        if record.slot:
            counts[record.slot] = counts.get(record.slot, 0) + 1
    return counts


def wait_until_sent(published: Callable[[], Iterable[Handed]], entries: Set[str], timeout_s: float = 90.0) -> None:
    """Return when the broker was handed a slot of each of ``entries`` that falls due after this instant."""
    since = dt.datetime.now(dt.UTC)

    def all_sent() -> bool:
        return {slot.entry for slot in per_slot(published()) if slot.due_at > since} >= entries

    wait_until(all_sent, f"{', '.join(sorted(entries))} are sent", timeout_s)


def _message(pushed: re.Match[bytes]) -> Handed | None:
    words = WORD.findall(pushed["words"])
    try:
        # The broker quotes words as Python quotes bytes.
        headers = json.loads(ast.literal_eval("b" + words[2].decode("ascii")))["headers"]
        return Handed(
            at=dt.datetime.fromtimestamp(float(pushed["at"]), dt.UTC),
            task=headers["task"],
            task_id=headers["id"],
            slot=_slot(headers.get("cutover_entry"), headers.get("cutover_due_at")),
            redelivered=bool(headers.get("redelivered")),
            origin=headers.get("origin") or "",
            retries=headers.get("retries") or 0,
            args=headers.get("argsrepr") or "",
        )
    except (ValueError, KeyError, TypeError, IndexError):
        return None  # pushed to a list that is no task queue


def _run(row: dict[str, str]) -> Run:
    return Run(
        at=dt.datetime.fromisoformat(row["at"]),
        label=row["label"],
        task_id=row["task_id"],
        slot=_slot(row["entry"], row["due_at"]),
    )


def _slot(entry: str | None, due_at: str | None) -> Slot | None:
    return Slot(dt.datetime.fromisoformat(due_at), entry) if entry and due_at else None
