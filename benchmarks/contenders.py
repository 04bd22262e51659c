"""Who is measured: this project, stock celery, and what others use; each with the settings it is given."""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

SQLITE: Final = "SQLite"
POSTGRES: Final = "PostgreSQL"
MARIADB: Final = "MariaDB"
ENGINES: Final = (SQLITE, POSTGRES)


@dataclass(frozen=True)
class Contender:
    """One beat with its settings. ``celery``: of celery's own kind; ``env``: the environment's; ``takes_over``: two
    of it are safe side by side. ``ready_s``: how long it may take to be ready with 5,000 entries."""

    name: str
    scheduler: str
    engine: str = SQLITE
    in_code: bool = False
    is_ours: bool = False
    takes_over: bool = True
    is_wrapped: bool = False
    ready_s: float = 4.0
    celery: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """The command line of one beat."""
        beat = f"{shlex.quote(sys.executable)} -m celery -A prayer_room_api beat -S {self.scheduler}"
        return f"{shlex.quote(sys.executable)} -m singlebeat.beat {beat}" if self.is_wrapped else beat

    @property
    def settings(self) -> str:
        """What it is given beside its defaults, for the page."""
        given = {**self.celery, **self.env}
        return ", ".join(f"`{name}={value}`" for name, value in given.items()) or "defaults"


ROWS: Final = Contender("cutover, rows, SQLite", "cutover.schedulers:DatabaseScheduler", is_ours=True, ready_s=8.0)
ROWS_POSTGRES: Final = replace(ROWS, name="cutover, rows, PostgreSQL", engine=POSTGRES)
ROWS_MARIADB: Final = replace(ROWS, name="cutover, rows, MariaDB", engine=MARIADB)
CODE: Final = replace(ROWS, name="cutover, code, SQLite", scheduler="cutover.schedulers:CodeScheduler", in_code=True)
OURS: Final = (ROWS, ROWS_POSTGRES, CODE)

STOCK_CODE: Final = Contender(
    "celery PersistentScheduler", "celery.beat:PersistentScheduler", in_code=True, takes_over=False
)
STOCK_ROWS: Final = Contender(
    "DatabaseScheduler, SQLite", "django_celery_beat.schedulers:DatabaseScheduler", takes_over=False
)
STOCK_POSTGRES_0: Final = replace(
    STOCK_ROWS, name="DatabaseScheduler, PostgreSQL", engine=POSTGRES, env={"BENCH_CONN_MAX_AGE": "0"}
)
STOCK_POSTGRES: Final = replace(
    STOCK_POSTGRES_0, name="DatabaseScheduler, PostgreSQL, kept", env={"BENCH_CONN_MAX_AGE": "null"}
)
STOCK: Final = (STOCK_CODE, STOCK_ROWS, STOCK_POSTGRES_0, STOCK_POSTGRES)

REDBEAT: Final = Contender("RedBeat", "redbeat.RedBeatScheduler", in_code=True, ready_s=10.0)
REDBEAT_TUNED: Final = replace(
    REDBEAT, name="RedBeat, tuned", celery={"REDBEAT_LOCK_TIMEOUT": 5, "BEAT_MAX_LOOP_INTERVAL": 1}
)
MULTIBEAT: Final = Contender("multibeat", "multibeat.django.MultiBeatDatabaseScheduler")
MULTIBEAT_TUNED: Final = replace(
    MULTIBEAT,
    name="multibeat, tuned",
    celery={
        "MULTIBEAT_LOCK_TIMEOUT": 1,
        "MULTIBEAT_MIN_REFRESH_SECONDS": 0.3,
        "MULTIBEAT_MIN_STANDBY_SECONDS": 0.1,
        "MULTIBEAT_REFRESH_RATIO": 0.3,
        "MULTIBEAT_STANDBY_RATIO": 0.1,
        "BEAT_MAX_LOOP_INTERVAL": 1,
    },
)
SINGLE_BEAT: Final = Contender("single-beat", STOCK_CODE.scheduler, in_code=True, is_wrapped=True)
SINGLE_BEAT_TUNED: Final = replace(
    SINGLE_BEAT, name="single-beat, tuned", env={"SINGLE_BEAT_LOCK_TIME": "3", "SINGLE_BEAT_INITIAL_LOCK_TIME": "4"}
)
TUNED: Final = (REDBEAT_TUNED, MULTIBEAT_TUNED, SINGLE_BEAT_TUNED)
UNTUNED: Final = (REDBEAT, MULTIBEAT, SINGLE_BEAT)
