"""The settings as a value: each with its type, its default, and its row in ``docs/settings.md``."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cutover import check_ins
from cutover.check_ins import CheckIns
from cutover.renames import Renames
from cutover.types import CatchUp, EntryName


@dataclass(frozen=True, slots=True)
class CatchUpRule:
    """What to do for a late slot, and up to which age (``window`` >= 0); ``most``: with ALL, of the latest so many."""

    policy: CatchUp
    window: dt.timedelta
    most: int = 100

    @property
    def sends_every(self) -> bool:
        """Whether every slot counts: not the latest alone is caught up."""
        return self.policy is CatchUp.ALL


@dataclass(frozen=True)
class Config:
    """All of cutover's settings, typed. What stands below each is its row in ``docs/settings.md``: `make reference`."""

    app: str = ""
    """Dotted path of the Celery app. Without it, the current Celery app."""
    code_schedule: str = ""
    """Dotted path of the retired code schedule, laid over `app.conf.beat_schedule`; without it, that alone. Remove it
    once the cutover is closed and the module is gone.
    """
    redis_alias: str = "default"
    """The `CACHES` entry (django-redis) whose connection the lease uses: Sentinel, TLS and credentials are that
    entry's.
    """
    redis_url: str = field(default="", repr=False)
    """In the place of such an entry: `redis://`, `rediss://` or `unix://`, of redis-py's own form; not both.
    `os.environ["REDIS_URL"]` is what most platforms give. Sentinel needs an entry.
    """
    database: str = "default"
    """The database that holds the ledger; django-celery-beat's tables must be there too."""
    namespace: str = "cutover"
    """Part of the Redis keys and of every task id; two sites that share a Redis need two."""
    lease: dt.timedelta = dt.timedelta(seconds=15)
    """How long others wait when nothing shows that the leader is dead; renewed every third of it. At least 3 s, for a
    beat's loop sends a sign of life every 2 s, and an answer of Redis is waited for up to 2 s.
    """
    catch_up: CatchUp = CatchUp.LATEST
    """`"latest"`: a late leader sends the latest slot; `"none"`: it sends none that is over 30 s late;
    `"all"`: it sends every slot, see docs/settings.md#where-every-slot-counts.
    """
    catch_up_window: dt.timedelta = dt.timedelta(hours=12)
    """How old a slot may be to be still sent; `beat_cron_starting_deadline` is respected where it is shorter."""
    catch_up_most: int = 100
    """With `"all"`: how many slots of an entry are caught up at most, the latest; 1 to 10,000. The older ones are
    missed, and named.
    """
    entries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """`{entry name: {"CATCH_UP": ..., "CATCH_UP_WINDOW": ..., "CATCH_UP_MOST": ..., "CHECK_INS": ...}}` for single
    entries.
    """
    renamed: Mapping[EntryName, EntryName] = field(default_factory=dict)
    """`{old name: new name}`: an entry that goes by another name, in the code or as a row, goes on where it stood; see
    docs/schedules.md#an-entry-under-another-name.
    """
    retention: dt.timedelta = dt.timedelta(days=30)
    """How long slots, terms and the journal are remembered; longer than the longest catch-up window, two leases and
    any pause you plan for. An older slot is never new: it is refused.
    """
    takeover_timeout: dt.timedelta = dt.timedelta(seconds=10)
    """How long a switch waits for a leader of the new side before it is undone; at least 4 s, for a standby that
    hears nothing through Redis sees it after 2 s.
    """
    release: str = ""
    """Label of the release in `status`. Without it, the first that is set of the environment's `CUTOVER_RELEASE`,
    `GIT_REV`, `HEROKU_SLUG_COMMIT` and `SOURCE_VERSION`.
    """
    run_without_database: bool = False
    """`True`: a worker that cannot reach the ledger runs the slot all the same, perhaps twice, instead of deferring
    it; nothing is sent once more then.
    """
    run_error_messages: bool = True
    """Of a run that failed or asked for a retry the ledger keeps, and `status`, the page and the report show, the
    exception's type and the first line of its message, up to 200 characters, as celery's log has them; `False`: the
    type alone, where messages may hold personal data. What stands before the `@` of a URL is left out; a traceback or
    the task's arguments are never kept.
    """
    resend_after: dt.timedelta | None = dt.timedelta(minutes=5)
    """How long after its publication a slot that no worker has started is sent once more; then twice as long, and so
    on. At least 2 s, as often as is looked; `None`: never.
    """
    sent_by_beat_alone: frozenset[str] = frozenset()
    """Below celery 5.7: task names that only a beat sends, so that a stock beat's messages can be matched to slots;
    `--only-beat-sends` says the same without a deploy.
    """
    converters: Mapping[str, str] = field(default_factory=dict)
    """`{dotted schedule class: dotted function}`: makes of a schedule of your own one that a row holds; see
    docs/schedules.md.
    """
    metrics_port: Mapping[str, int] = field(default_factory=dict)
    """A port, or `{"beat": ..., "worker": ...}`: where these processes expose metrics from their next start on; needs
    the extra `metrics`. Without it, no metrics. See docs/metrics.md.
    """
    metrics_address: str = "0.0.0.0"  # noqa: S104 - in a container there is no other that Prometheus reaches
    """The address of that port."""
    metrics_entries: int = 200
    """Of how many entries the web process's page of metrics has series; of those with a problem always."""
    check_ins: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """`{"PING_URL": ..., "SENTRY": ...}`: whom to tell of each slot's start and end, and of missed ones; see
    docs/alerts.md.
    """

    @property
    def renew_every(self) -> dt.timedelta:
        """How often a leader renews: a third of the lease, so that two renewals may fail."""
        return self.lease / 3

    def catch_up_rule(self, entry: EntryName) -> CatchUpRule:
        """The rule for one entry: its own, where ``ENTRIES`` has one, else the general one."""
        own = self.entries.get(entry)
        if own is None:
            return self._general_rule
        return CatchUpRule(
            own.get("CATCH_UP", self.catch_up),
            own.get("CATCH_UP_WINDOW", self.catch_up_window),
            own.get("CATCH_UP_MOST", self.catch_up_most),
        )

    @cached_property
    def _general_rule(self) -> CatchUpRule:
        return CatchUpRule(self.catch_up, self.catch_up_window, self.catch_up_most)

    def check_ins_of(self, entry: EntryName) -> CheckIns:
        """Where the slots of one entry are told: its own settings, laid over the general ones."""
        own = self.entries.get(entry, {}).get("CHECK_INS", {})
        return check_ins.of_entry(entry, {**self.check_ins, **own})

    @property
    def has_check_ins(self) -> bool:
        """Whether those of any entry are told at all."""
        own = (given.get("CHECK_INS", {}) for given in self.entries.values())
        return any(where is not None for each in (self.check_ins, *own) for where in each.values())

    @cached_property
    def renames(self) -> Renames:
        """What entries have been called, by ``RENAMED``."""
        return Renames(self.renamed)

    @property
    def windows(self) -> list[dt.timedelta]:
        """The catch-up windows: the general one, and those of entries."""
        return [self.catch_up_window, *(self.catch_up_rule(EntryName(name)).window for name in self.entries)]
