"""What every command works with: settings, app, lease and ledger, made when first asked for; and bounded waits."""

import datetime as dt
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import cached_property
from typing import TypeVar

import redis
from celery import Celery
from celery.beat import ScheduleEntry
from django.db import connections

from cutover import clock
from cutover.conf import Config
from cutover.election.connection import redis_client
from cutover.election.lease import Lease, Presence
from cutover.foreign import text_of
from cutover.ledger import Ledger
from cutover.schedules import project
from cutover.types import EntryName, SentBy, Side

_T = TypeVar("_T")


class Context:
    """The surroundings of one command. ``progress`` is called with a line on whatever takes its time.

    ``live`` is called again and again with what is waited for, and how long that takes still.
    ``is_dry_run``: it asks all and changes nothing: what the operator says, ``sent_by`` and ``stopped``, is not kept.
    """

    def __init__(
        self,
        config: Config,
        progress: Callable[[str], None] = lambda line: None,
        live: Callable[[str, dt.timedelta], None] = lambda what, left: None,
    ) -> None:
        self.config = config
        self.alias = config.database
        self.progress = progress
        self.live = live
        self.ledger = Ledger(config.database, config.namespace, config.retention, config.renames)
        self.celery_of_workers: set[str] = set()
        """Which versions of celery workers have answered, where this command has asked them."""
        self.is_dry_run = False
        self.sent_by: dict[str, SentBy] = {}
        """Who sends which task without a slot, as was said to this command alone."""
        self.stopped: set[str] = set()
        """The origins of unmanaged beats that have ended, as was said to this command."""

    @cached_property
    def app(self) -> Celery:
        """The host's Celery app; raises ConfigurationError."""
        return project.celery_app(self.config)

    @cached_property
    def entries(self) -> dict[EntryName, ScheduleEntry]:
        """The code schedule; raises ConfigurationError or EntriesRefused."""
        return project.code_entries(self.app, self.config)

    @cached_property
    def redis(self) -> redis.Redis:
        """A client with bounded waits; raises ConfigurationError."""
        return redis_client(self.config)

    @cached_property
    def lease(self) -> Lease:
        """The lease; raises ConfigurationError, its methods LeaseUnavailable."""
        return Lease(self.redis, self.config.namespace, self.config.lease)

    def beats(self) -> list[Presence]:
        """The beats that reported lately and are not gone since. Raises LeaseUnavailable."""
        return [beat for beat in self.lease.beats() if not self.is_gone(beat.client_id)]

    def is_gone(self, client_id: int) -> bool:
        """Whether the server has lost that connection of a beat: it is dead, or cut off. Raises LeaseUnavailable.

        A report counts for some seconds after that. False where the server does not say.
        """
        return self.lease.is_connected(client_id) is False

    def warm_beats(self, side: Side) -> list[Presence]:
        """The beats of ``side`` that could lead. Raises LeaseUnavailable."""
        return [beat for beat in self.beats() if beat.side is side and beat.warm]

    def wait_for(
        self, ask: Callable[[], _T | None], within: dt.timedelta, what: str, every_s: float = 0.02
    ) -> _T | None:
        """The first answer of ``ask``, called ``every_s``, that is not None; None when there was none in time."""
        within_s = within.total_seconds()
        started = reported = clock.monotonic_s()
        while True:
            found = ask()
            now = clock.monotonic_s()
            if found is not None or now - started >= within_s:
                return found
            if now - reported >= max(2.0, within_s / 30):  # thirty lines at most: somebody reads them afterwards
                reported = now
                self.progress(f"waiting for {what}: {now - started:.0f} of {within_s:g} s")
            clock.sleep(every_s)


def in_time(ask: Callable[[Future[_T]], None], within_s: float) -> _T:
    """The result that ``ask`` sets; raises what it does, or TimeoutError, for no driver ends every hang by itself."""
    answer: Future[_T] = Future()

    def run() -> None:
        try:
            ask(answer)
        except Exception as exc:  # whatever a driver raises
            if not answer.done():
                answer.set_exception(exc)
        finally:
            connections.close_all()  # this thread's own

    threading.Thread(target=run, name="cutover-question", daemon=True).start()
    try:
        return answer.result(within_s)
    except TimeoutError as exc:
        raise TimeoutError(text_of(exc) or f"no answer within {within_s:g} s") from exc
