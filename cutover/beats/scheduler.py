"""Where Celery's schedulers meet the elector and the ledger; composition only.

``CodeScheduler`` is celery's ``PersistentScheduler`` and ``DatabaseScheduler`` is django-celery-beat's, each under the
lease: they read their schedules and publish as the stock ones do, and ask before they send. Name one of them as
``beat_scheduler`` and the guard works wherever beat runs: ``prodserver``, ``celery beat``, ``celery worker -B``.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
import signal
import socket
import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, ClassVar, Final

import redis
from billiard import current_process
from celery.beat import PersistentScheduler, ScheduleEntry, Scheduler, SchedulingError
from django.db import connections
from django.db.models import F
from django_celery_beat.models import PeriodicTask, PeriodicTasks
from django_celery_beat.schedulers import DatabaseScheduler as StockDatabaseScheduler
from kombu.exceptions import ChannelError

from cutover import clock, conf
from cutover.beats import schedule_file
from cutover.beats.candidate import Candidate, Entries
from cutover.beats.dispatcher import Dispatcher
from cutover.beats.shadow import Shadow
from cutover.beats.sources import rows
from cutover.election.connection import redis_client
from cutover.election.elector import Elector, News
from cutover.election.lease import Lease
from cutover.errors import LedgerUnavailable
from cutover.fields import instant, stored
from cutover.ledger import Ledger
from cutover.ledger.database import Database
from cutover.schedules import project
from cutover.types import UNLIMITED, EntryName, HolderId, Identity, Side

BROKER_TRIES: Final = 2
"""How often a broker connection is tried before the slot is left to the sweep; stock beat waits minutes here."""


class Leased(Scheduler):
    """A scheduler under the lease; mixed in before a stock one."""

    side: ClassVar[Side]
    _candidate: Candidate | None = None
    _elector: Elector | None = None
    _ledger: Ledger | None = None
    _stopping = False
    _holder = HolderId("")

    def tick(self, *_: Any, **__: Any) -> float:
        """One turn of the candidate. It does its own waiting, so that it can be woken; hence always 0."""
        if self._candidate is None:
            self._candidate = self._enter()
        if self._stopping:
            raise SystemExit
        self._candidate.turn()
        return 0.0

    def close(self) -> None:
        """Stand down at once, then close as the stock scheduler does.

        Celery calls this from its own signal handler too; ours has replaced that one by the first tick.
        """
        self._leave()
        super().close()

    def _leave(self) -> None:
        candidate, self._candidate = self._candidate, None
        if candidate is not None:
            candidate.close()

    def _enter(self) -> Candidate:
        config = conf.load()
        who = Identity(
            HolderId(f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"),
            socket.gethostname(),
            os.getpid(),
            config.release,
        )
        client = redis_client(config)
        lease = Lease(client, config.namespace, config.lease)
        ledger = Ledger(config.database, config.namespace, config.retention)
        _forget_inherited_connections()
        # A connection made again at every turn would cost more than the turn.
        connections[config.database].settings_dict["CONN_MAX_AGE"] = None
        elector = Elector(client, lease, who, self.side, config.lease, config.renew_every)
        faults = (*self.connection.connection_errors, *self.connection.channel_errors)
        dispatcher = Dispatcher(ledger, self._hand_over, config.namespace, elector.vouch, faults)
        self._elector, self._ledger, self._holder = elector, ledger, who.holder
        self._defer_signals()
        elector.start()
        return Candidate(config, who, self.side, elector, ledger, dispatcher, self)

    def _defer_signals(self) -> None:
        """A signal ends the loop between two turns: celery's handler would close the scheduler in the middle of one."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_signal)
            signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, _signum: int, _frame: FrameType | None) -> None:
        self._stopping = True
        if self._elector is not None:
            self._elector.wake(News.SIGNAL)

    def _hand_over(self, entry: ScheduleEntry) -> None:
        """Publish. A broker that refuses this very message, its exchange for one, is answered by a LookupError.

        AMQP closes the channel for such a message, and where no confirmation is asked for (`confirm_publish`) only the
        next message hears of it: so what was refused is tried once more, on a new channel.
        """
        try:
            self.apply_async(entry, producer=self.producer, advance=False)
        except SchedulingError as exc:
            if _refusal(exc) is None:
                raise
            try:
                self.apply_async(entry, producer=self.producer, advance=False)
            except SchedulingError as again:
                if (refusal := _refusal(again)) is None:
                    raise
                raise LookupError(f"the broker refuses it: {refusal}") from again

    def _ensure_connected(self) -> Any:
        return self.connection.ensure_connection(max_retries=BROKER_TRIES, interval_start=0.1, interval_step=0.2)

    def made(self) -> Mapping[EntryName, dt.datetime]:
        """See ``candidate.Source``: an entry in code stands since its release runs."""
        return {}

    def recover(self) -> Collection[EntryName]:
        """See ``candidate.Source``: there is nothing that a lost call would leave wrong."""
        return ()

    def rehearse(self, looks: bool) -> float | None:
        """See ``candidate.Source``: this side has nothing to rehearse."""
        return None

    def should_sync(self) -> bool:
        """Never by the stock clock: what was sent is in the ledger when it was sent."""
        return False


class CodeScheduler(Leased, PersistentScheduler):
    """The code side: the schedule of ``beat_schedule`` or ``CUTOVER['CODE_SCHEDULE']``.

    Celery's schedule file is read at the start, for the last runs from before the ledger, and written when a leader
    stops, for a beat that knows no ledger; it is never held open, so any number of beats may share it.
    """

    side = Side.CODE
    _loaded = False
    _led = False

    def setup_schedule(self) -> None:
        """Read the code schedule, with celery's own default entries, and the last runs of the schedule file."""
        self.data: dict[str, ScheduleEntry] = {}
        self.merge_inplace(project.code_schedule(self.app, conf.load()))
        self.install_default_entries(self.data)
        self._records = schedule_file.read(self.schedule_filename)
        self._runs = schedule_file.read(self.schedule_filename, have_run=True)
        for name, last_run_at in self._records.items():
            if name in self.data:
                self.data[name].last_run_at = last_run_at

    def get_schedule(self) -> dict[str, ScheduleEntry]:
        """The entries by name."""
        return self.data

    def set_schedule(self, schedule: dict[str, ScheduleEntry]) -> None:
        """Replace the entries."""
        self.data = schedule

    schedule = property(get_schedule, set_schedule)

    def close(self) -> None:
        """Stand down, then write the schedule file if this beat has led. (The stock ``close`` wants the file open.)"""
        self._leave()
        Scheduler.close(self)
        if self._led:
            self._adopt_last_slots()
            schedule_file.write(self.schedule_filename, self.data, self.app)

    def _adopt_last_slots(self) -> None:
        """Take over what others sent while this beat stood by: the next one to read the file would send it again.

        A run that the file had already, later than any slot, stays: a stock beat sent that, between two of ours.
        """
        with suppress(LedgerUnavailable):
            last = self._ledger.cursors.latest_of([EntryName(n) for n in self.data]) if self._ledger is not None else {}
            for name in last.keys() & self.data.keys():
                slot = last[EntryName(name)]
                self.data[name].last_run_at = max(slot, self._runs.get(name, slot))

    def load(self, thorough: bool = True) -> Entries | None:
        """See ``candidate.Source``: the code schedule does not change while the process lives."""
        if self._loaded:
            return None
        self._loaded = True
        config, deadline = conf.load(), self.app.conf.beat_cron_starting_deadline
        return {EntryName(n): (e, rows.rule(config, n, deadline), UNLIMITED) for n, e in self.data.items()}

    def version(self) -> str:
        """See ``candidate.Source``."""
        return "code"

    def records(self) -> Mapping[EntryName, dt.datetime]:
        """See ``candidate.Source``: from celery's schedule file."""
        return {EntryName(name): at for name, at in self._records.items()}

    def runs(self) -> Mapping[EntryName, dt.datetime]:
        """See ``candidate.Source``: from that file too, in which a stock beat counts what it has sent."""
        return {EntryName(name): at for name, at in self._runs.items()}

    def published(self, entries: Sequence[ScheduleEntry]) -> Collection[EntryName]:
        """See ``candidate.Source``."""
        self._led = True
        for entry in entries:
            self.data[entry.name] = next(self.data[entry.name])
        return ()


class DatabaseScheduler(Leased, StockDatabaseScheduler):
    """The database side: django-celery-beat's rows.

    Unlike the stock scheduler it writes no code schedule over the rows, loads every enabled row whatever its hour, and
    notices every change of a row within seconds, also one that went past ``save()``.
    """

    side = Side.DATABASE
    _version = ""
    _digest: Any = None
    _looked_at: dt.datetime | None = None
    _shadow: Shadow | None = None

    def setup_schedule(self) -> None:
        """Nothing is written: the rows are the master."""
        self._schedule: dict[str, ScheduleEntry] = {}
        self._clocked: dict[EntryName, rows.Clocked] = {}

    @property
    def schedule(self) -> dict[str, ScheduleEntry]:
        """The entries by name, as loaded last."""
        return self._schedule or {}

    def sync(self) -> None:
        """Nothing is left to write: see ``published``."""

    def load(self, thorough: bool = True) -> Entries | None:
        """See ``candidate.Source``."""
        now = clock.now()
        with Database(PeriodicTask.objects.db).asked():
            last_change = PeriodicTasks.last_change()
            version = last_change.isoformat() if last_change else ""
            if version == self._version and self._digest is not None and not thorough:
                return None
            digest = rows.digest()
            if version == self._version and digest == self._digest:
                self._looked_at = now
                return None
            entries = rows.entries(self.app, self.enabled_models_qs())
        self._schedule = {name: entry for name, (entry, _, _) in entries.items()}
        models = [entry.model for entry in self._schedule.values()]
        self._clocked = rows.clocked(models, self._clocked, self._looked_at)
        self._version, self._digest, self._looked_at = version, digest, now
        return entries

    def enabled_models_qs(self) -> Any:
        """Every enabled row: the stock scheduler hides those whose hour is not near, and so misses late ones."""
        return PeriodicTask.objects.enabled()

    def rehearse(self, looks: bool) -> float | None:
        """See ``candidate.Source``: a shadow run, on the carried rows, enabled or not."""
        if self._shadow is None:
            self._shadow = Shadow(conf.load().database, self._holder, lambda: rows.carried(self.app))
        return self._shadow.turn(looks)

    def version(self) -> str:
        """See ``candidate.Source``: ``PeriodicTasks.last_update`` in ISO 8601."""
        return self._version

    def records(self) -> Mapping[EntryName, dt.datetime]:
        """See ``candidate.Source``: a row tells since when it exists, not since when it is enabled; so none."""
        return {}

    def runs(self) -> Mapping[EntryName, dt.datetime]:
        """See ``candidate.Source``: when a row was sent last is the ledger's to say; so none."""
        return {}

    def made(self) -> Mapping[EntryName, dt.datetime]:
        """See ``candidate.Source``: of each clocked row."""
        return {name: row.since for name, row in self._clocked.items()}

    def published(self, entries: Sequence[ScheduleEntry]) -> Collection[EntryName]:
        """See ``candidate.Source``; a one-off row is disabled once it was sent, as the stock scheduler does.

        A row that was disabled meanwhile is left alone: a person, or a rollback, has said what its last run is.
        """
        if not entries:
            return ()
        with Database(PeriodicTask.objects.db).asked():
            sent = PeriodicTask.objects.filter(pk__in=[e.model.pk for e in entries], enabled=True)
            sent.update(last_run_at=stored(clock.now()), total_run_count=F("total_run_count") + 1)
            return self._end([e.model for e in entries if e.model.one_off])

    def recover(self) -> Collection[EntryName]:
        """See ``candidate.Source``: one-off rows that were sent, and still stand enabled."""
        if self._ledger is None:
            return ()
        with Database(PeriodicTask.objects.db).asked():
            once = {EntryName(row.name): row for row in PeriodicTask.objects.enabled().filter(one_off=True)}
            since = {name: instant(row.date_changed) for name, row in once.items()}
            return self._end([once[name] for name in self._ledger.claims.sent_since(since)]) if since else ()

    def _end(self, once: Sequence[PeriodicTask]) -> Collection[EntryName]:
        if once:
            standing = PeriodicTask.objects.filter(pk__in=[row.pk for row in once], enabled=True)
            # Also when it was changed: the admin's "enable" does not say so, and `recover` must not end it again.
            standing.update(enabled=False, total_run_count=0, date_changed=stored(clock.now()))
            PeriodicTasks.update_changed()
        return [EntryName(row.name) for row in once]


def _refusal(exc: SchedulingError) -> BaseException | None:
    """The broker's answer, where it has answered and refuses this very message; None for every other failure.

    Redis does so where the queue's key is not a list, or is none of those that this user may write.
    """
    cause = exc.__context__
    answer = cause if cause is None or isinstance(cause, ChannelError) else cause.__cause__
    is_refused = isinstance(answer, (ChannelError, redis.exceptions.NoPermissionError)) or (
        isinstance(answer, redis.ResponseError) and "WRONGTYPE" in str(answer)
    )
    return answer if is_refused else None


def _forget_inherited_connections() -> None:
    """In a beat embedded in a worker (``-B``): the parent's sockets are not ours to use, nor to close."""
    if current_process().name != "MainProcess":
        for connection in connections.all(initialized_only=True):
            connection.connection = None
