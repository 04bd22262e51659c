"""What every phase works with: settings, app, lease and ledger, made when first asked for; and bounded waiting."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import cached_property
from typing import Final, TypeVar

import redis
from celery import Celery
from celery.beat import ScheduleEntry

from cutover import clock
from cutover.conf import Config
from cutover.election.connection import redis_client
from cutover.election.lease import Lease
from cutover.ledger import Ledger
from cutover.schedules import project
from cutover.types import EntryName

_T = TypeVar("_T")
_LOOK_EVERY_S: Final = 0.02
_TELL_EVERY_S: Final = 2.0
_TELL_MOST: Final = 30
"""How often to tell of one long wait: somebody reads it afterwards."""


class Context:
    """One command's surroundings. ``progress`` is told, in words, what takes its time."""

    def __init__(self, config: Config, progress: Callable[[str], None] = lambda line: None) -> None:
        self.config = config
        self.alias = config.database
        self.progress = progress

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

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger; its methods raise LedgerUnavailable."""
        return Ledger(self.alias, self.config.namespace, self.config.retention)

    def wait_for(
        self, look: Callable[[], _T | None], within: dt.timedelta, what: str, every_s: float = _LOOK_EVERY_S
    ) -> _T | None:
        """The first answer of ``look``, asked ``every_s``, that is not None; None when there was none in time."""
        started = told = clock.monotonic_s()
        tell_every_s = max(_TELL_EVERY_S, within.total_seconds() / _TELL_MOST)
        while True:
            found = look()
            now = clock.monotonic_s()
            if found is not None or now - started >= within.total_seconds():
                return found
            if now - told >= tell_every_s:
                told = now
                self.progress(f"waiting for {what}: {now - started:.0f} of {within.total_seconds():g} s")
            clock.sleep(every_s)
