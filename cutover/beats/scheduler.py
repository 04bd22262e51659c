"""Where celery's schedulers meet the elector and the ledger; composition only.

``CodeScheduler`` is celery's ``PersistentScheduler`` and ``DatabaseScheduler`` is django-celery-beat's, each under the
lease: they read their schedules and publish as the stock ones do, and ask before they send. Named as ``beat_scheduler``
one of them works wherever beat runs: ``prodserver``, ``celery beat``, ``celery worker -B``.
"""

import os
import secrets
import signal
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from types import FrameType
from typing import Any, ClassVar, Final

from billiard import current_process
from celery import Celery
from celery.beat import PersistentScheduler, ScheduleEntry, Scheduler
from django.db import connections
from django_celery_beat.schedulers import DatabaseScheduler as StockDatabaseScheduler

from cutover import conf
from cutover.background import drain_all
from cutover.beats import overrides, start
from cutover.beats.candidate import Candidate
from cutover.beats.dispatcher import Dispatcher
from cutover.beats.leadership import Chore
from cutover.beats.outlet import Outlet
from cutover.beats.pausing import Pausing
from cutover.beats.pruning import Pruning
from cutover.beats.publisher import Publisher, send_twice_where_refused
from cutover.beats.replay import Replay
from cutover.beats.resend import Resend
from cutover.beats.schedule import Schedule
from cutover.beats.shadow import Shadow
from cutover.beats.sources import Source
from cutover.beats.sources.code import CodeSource
from cutover.beats.sources.rows import imported
from cutover.beats.sources.shown import ShownRows
from cutover.beats.stock_tick import InStockTick
from cutover.clock import SYSTEM
from cutover.conf import Config
from cutover.election.connection import redis_client
from cutover.election.elector import Elector, News
from cutover.election.lease import Lease
from cutover.errors import ConfigurationError, LedgerUnavailable
from cutover.ledger import Ledger
from cutover.ledger.database import keep
from cutover.schedules import project
from cutover.schedules.rows import rows_database
from cutover.types import HolderId, Identity, Side

BROKER_TRIES: Final = 2
"""How often a broker connection is tried before the slot is left to the sweep; stock beat waits minutes here."""


class Leased(InStockTick, ABC):
    """A scheduler under the lease; mixed in before a stock one."""

    side: ClassVar[Side]
    more_chores: Sequence[Callable[[Ledger], Chore]] = ()
    """Made for the leader besides its own."""
    _candidate: Candidate | None = None
    _elector: Elector | None = None
    _ledger: Ledger | None = None
    _outlet: Outlet | None = None
    _is_stopping = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As celery makes a scheduler. With settings or overrides by which it cannot send it ends the process."""
        is_lazy = kwargs.get("lazy")
        try:
            if not is_lazy:
                self.require_startable(kwargs.get("app") or args[0])
            super().__init__(*args, **kwargs)
            if not is_lazy:
                self._made()
        except ConfigurationError as exc:
            raise SystemExit(str(exc)) from exc  # of any other error celery logs nothing but a traceback

    @classmethod
    def require_startable(cls, app: Celery) -> None:
        """Raises ConfigurationError where such a beat could never send, and why."""
        overrides.require(cls)
        start.require_settings(app, cls.side)

    def tick(self, *_: Any, **__: Any) -> float:
        """One turn of the candidate. It does its own waiting, so that it can be woken; hence always 0."""
        if self._candidate is None:
            self._candidate = self._enter()
        if self._is_stopping:
            raise SystemExit
        self._candidate.turn(self.within_tick)
        return 0.0

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        """As celery's. A slot has one message: another one, by an override that sends several, is refused."""
        if self._outlet is None:
            return super().apply_async(*args, **kwargs)
        return self._outlet.pass_on(super().apply_async, *args, **kwargs)

    def close(self) -> None:
        """Step down at once, then close as the stock scheduler does.

        Celery calls this from its own signal handler too; ours has replaced that one by the first tick.
        """
        self._leave()
        super().close()

    def should_sync(self) -> bool:
        """Never by the stock clock: what was sent is in the ledger when it was sent."""
        return False

    def _made(self) -> Source | None:
        """What ``setup_schedule`` has made. Raises ConfigurationError where an override has left ours out."""
        return None

    @abstractmethod
    def _source(self, ledger: Ledger) -> Source:
        """Where the schedule comes from."""

    def _shadow(self, config: Config, who: Identity) -> Shadow | None:
        """What takes part in shadow runs; the code side does not."""
        return None

    def _enter(self) -> Candidate:
        """Put the candidate together, and enter the election."""
        config = conf.load()
        host, pid = socket.gethostname(), os.getpid()
        who = Identity(HolderId(f"{host}:{pid}:{secrets.token_hex(4)}"), host, pid, config.release)
        client = redis_client(config)
        lease = Lease(client, config.namespace, config.lease)
        ledger = self._open_ledger()
        elector = Elector(client, lease, who, self.side, config.lease, config.renew_every)
        faults = (*self.connection.connection_errors, *self.connection.channel_errors)
        self._outlet = Outlet(self)
        send = send_twice_where_refused(self._outlet.send)
        publisher = Publisher(ledger, send, config.namespace, elector.heartbeat, faults)
        time = replace(SYSTEM, now=ledger.fence.now)
        dispatcher = Dispatcher(ledger, publisher, elector.heartbeat, time)
        schedule = Schedule(self.side, self._source(ledger), ledger, config)
        chores: list[Chore] = [Pausing(ledger), Pruning(ledger), Replay(ledger, dispatcher, schedule.published)]
        if config.resend_after is not None and not config.run_without_database:
            chores.append(Resend(ledger, dispatcher, config.resend_after))
        chores.extend(make(ledger) for make in self.more_chores)
        shadow = self._shadow(config, who)
        self._elector = elector
        self._defer_signals()
        elector.start()
        self._warm_up()
        return Candidate(who, self.side, elector, ledger, dispatcher, schedule, chores, shadow, time)

    def _warm_up(self) -> None:
        """Make what a process's first message needs and what takes fifty times as long as a message; nothing connects.

        Else whoever waits for a new leader would wait for that. What is wrong with any of it the first message says.
        """
        with suppress(Exception):
            app = self.app
            _ = app.tasks, app.backend, app.amqp.router, app.amqp.send_task_message

    def _open_ledger(self) -> Ledger:
        """The ledger, over a connection that is this process's own and is kept."""
        if self._ledger is None:
            config = conf.load()
            _forget_inherited_connections()
            keep(config.database)  # a connection made for every turn would cost more than the turn
            self._ledger = Ledger(config.database, config.namespace, config.retention, config.renames)
        return self._ledger

    def _leave(self) -> None:
        candidate, self._candidate = self._candidate, None
        if candidate is not None:
            candidate.close()
            if current_process().name != "MainProcess":
                drain_all()  # embedded in a worker (`-B`): nothing else is called at its end

    def _defer_signals(self) -> None:
        """A signal ends the loop between two turns: celery's handler would close the scheduler in the middle of one."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_signal)
            signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, _signum: int, _frame: FrameType | None) -> None:
        self._is_stopping = True
        if self._elector is not None:
            self._elector.wake(News.SIGNAL)

    def _ensure_connected(self) -> Any:
        def failed(exc: Exception, interval_s: float) -> None:  # says what the stock one says
            self.logger.error("beat: Connection error: %s. Trying again in %s seconds...", exc, interval_s)

        bounds = {"max_retries": BROKER_TRIES, "interval_start": 0.1, "interval_step": 0.2}
        return self.connection.ensure_connection(failed, **bounds)


class CodeScheduler(Leased, PersistentScheduler):
    """The code side: the schedule of ``beat_schedule`` or ``CUTOVER['CODE_SCHEDULE']``."""

    side = Side.CODE
    _code: CodeSource | None = None

    def setup_schedule(self) -> None:
        """Read the code schedule, with celery's own default entries, and the last runs of the schedule file."""
        self.data: dict[str, ScheduleEntry] = {}
        self.merge_inplace(project.code_schedule(self.app, conf.load()))
        self.install_default_entries(self.data)
        self._code = CodeSource(self.app, self.data, self.schedule_filename)

    # The entries in memory, as `Scheduler` has them: those of `PersistentScheduler` are the open file's.
    schedule = property(Scheduler.get_schedule, Scheduler.set_schedule)

    def close(self) -> None:
        """Step down, then leave the schedule file as it should be. (The stock ``close`` wants the file open.)"""
        self._leave()
        Scheduler.close(self)
        if self._code is not None:
            self._code.close()

    def _made(self) -> CodeSource:
        if self._code is None:
            kind = type(self)
            raise ConfigurationError(f"{kind.__module__}.{kind.__qualname__}.setup_schedule must call that of super().")
        return self._code

    def _source(self, ledger: Ledger) -> Source:
        if self._code is None:  # made with ``lazy``, and set up by nobody
            self.setup_schedule()
        source = self._made()
        source.ledger = ledger
        return source


class DatabaseScheduler(Leased, StockDatabaseScheduler):
    """The database side: django-celery-beat's rows.

    Unlike the stock scheduler it writes no code schedule over the rows, loads every enabled row whatever its hour, and
    notices every change of a row within seconds, also one that went past ``save()``.
    """

    side = Side.DATABASE
    _rows: ShownRows | None = None

    def setup_schedule(self) -> None:
        """Nothing is written: the rows are the master."""
        self._schedule: dict[str, ScheduleEntry] = {}

    @property
    def schedule(self) -> dict[str, ScheduleEntry]:
        """The entries by name, as loaded last. Whoever asks before the first turn, as at ``beat_init``, has them read.

        Empty where the database gives no answer then.
        """
        rows = self._shown_rows()
        if self._candidate is None:
            with suppress(LedgerUnavailable):
                rows.read_ahead()
        return rows.schedule

    def sync(self) -> None:
        """Nothing is left to write: the source has recorded it when it was sent."""

    def enabled_models_qs(self) -> Any:
        """Every enabled row: the stock scheduler hides those whose hour is not near, and so misses late ones."""
        return self.Model.objects.using(rows_database()).filter(enabled=True)

    def all_as_schedule(self) -> dict[str, ScheduleEntry]:
        """The entries of all rows that ``enabled_models`` returns, with their overlays."""
        return self._shown_rows().read()

    def _source(self, ledger: Ledger) -> Source:
        return self._shown_rows()

    def _shown_rows(self) -> ShownRows:
        if self._rows is None:
            self._rows = ShownRows(self, DatabaseScheduler, self._open_ledger())
        return self._rows

    def _shadow(self, config: Config, who: Identity) -> Shadow:
        return Shadow(config.database, who.holder, lambda: imported(self.app))


def _forget_inherited_connections() -> None:
    """In a beat embedded in a worker (``-B``): the parent's sockets are not ours to use, nor to close."""
    if current_process().name != "MainProcess":
        for connection in connections.all(initialized_only=True):
            connection.connection = None
