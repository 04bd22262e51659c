"""Schedules of a project's own, as celery's beat takes them: those that a beat under the lease can send, or cannot."""

import datetime as dt
from typing import Any

from celery.schedules import BaseSchedule, crontab, schedule

DAY = dt.timedelta(days=1)


class Daily(BaseSchedule):
    """At midnight UTC, and its two methods agree."""

    def remaining_estimate(self, last_run_at: dt.datetime) -> dt.timedelta:
        last = last_run_at.astimezone(dt.UTC)
        return last.replace(hour=0, minute=0, second=0, microsecond=0) + DAY - self.now()

    def is_due(self, last_run_at: dt.datetime) -> tuple[bool, float]:
        remaining_s = self.remaining_estimate(last_run_at).total_seconds()
        return remaining_s <= 0, max(remaining_s, 1.0)


class Contradictory(Daily):
    """Its two methods contradict each other."""

    def is_due(self, last_run_at: dt.datetime) -> tuple[bool, float]:
        return False, 60.0


class ByTheWall(Daily):
    """Does not ask its own clock."""

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)


class Silent(BaseSchedule):
    """Says only whether it is due now."""

    def is_due(self, last_run_at: dt.datetime) -> tuple[bool, float]:
        return True, 60.0


class NeverDue(schedule):
    """An interval that a switch of the project's keeps back."""

    def is_due(self, last_run_at: dt.datetime) -> Any:
        return False, 0.2


class Weekdays(schedule):
    """An interval that rests at the weekend."""

    def is_due(self, last_run_at: dt.datetime) -> Any:
        return super().is_due(last_run_at) if self.now().weekday() < 5 else (False, 60.0)


class Jittered(crontab):
    """A crontab that comes a little later."""

    def remaining_estimate(self, last_run_at: dt.datetime) -> dt.timedelta:
        return super().remaining_estimate(last_run_at) + dt.timedelta(seconds=7)


class Shown(crontab):
    """A crontab that differs in how it is shown and in where its clock comes from."""

    def __repr__(self) -> str:
        return "<every five minutes>"

    @staticmethod
    def clock() -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, nowfun=self.clock, **kwargs)


class Tomorrow(crontab):
    """A crontab by a clock that is a day ahead."""

    def now(self) -> dt.datetime:
        return super().now() + DAY
