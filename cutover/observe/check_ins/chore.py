"""A leader's chore: at every poll it looks what there is to tell, and has that told in the background."""

import datetime as dt
from collections.abc import Callable
from functools import cache, partial
from typing import Final

from celery.beat import ScheduleEntry

from cutover import clock
from cutover.background import BackgroundQueue
from cutover.beats.agenda import Agenda
from cutover.check_ins import CheckIns
from cutover.conf import LEAST_LEASE, Config
from cutover.errors import LedgerUnavailable
from cutover.events import Event
from cutover.foreign import text_of
from cutover.ledger import Ledger
from cutover.ledger.fence import NO_QUESTIONS, FenceView
from cutover.observe.check_ins.news import CheckIn, Word
from cutover.observe.check_ins.outbox import Outbox
from cutover.observe.check_ins.ping import ping
from cutover.observe.check_ins.sentry import check_in_with_sentry
from cutover.seldom import log_seldom
from cutover.types import Term

START_HOLDS: Final = LEAST_LEASE
"""How late a start is still told: a leader that was frozen for longer, and thawed, might tell it after the end."""
_MOST: Final = 10_000
"""How many check-ins may wait: a new leader begins with many."""
_background: Final = BackgroundQueue("cutover-check-ins", Event.CHECK_IN_FAILED, _MOST)

Tell = Callable[[CheckIn, CheckIns, ScheduleEntry | None], object]


class Telling:
    """The chore. ``tell``: what becomes of each check-in; None: it is told, in the background."""

    asks = NO_QUESTIONS

    def __init__(self, ledger: Ledger, config: Config, tell: Tell | None = None) -> None:
        general = any(where is not None for where in config.check_ins.values())
        self._outbox = Outbox(ledger, None if general else [*config.entries])
        self._where = cache(config.check_ins_of)
        self._tell = tell or in_background
        self._term: Term | None = None

    def run(self, term: Term, fence: FenceView, agenda: Agenda) -> bool:
        """Tell what is new; no fence is asked, for what the ledger says is true under every leader.

        Raises LedgerUnavailable; what else goes wrong is logged, and ends no leadership.
        """
        try:
            if term != self._term:
                self._outbox.begin(term)
                self._term = term
            for check_in in self._outbox.look():
                if where := self._where(check_in.slot.entry):
                    self._tell(check_in, where, agenda.entry(check_in.slot.entry))
        except LedgerUnavailable:
            raise
        except Exception as exc:
            kind = type(exc).__name__
            log_seldom(Event.CHECK_IN_FAILED, kind, entry="", due_at="", reason=f"{kind}: {text_of(exc)}")
        return True


def in_background(check_in: CheckIn, where: CheckIns, entry: ScheduleEntry | None) -> None:
    """Have it told in the background, each service by itself."""
    details = {"entry": str(check_in.slot.entry), "due_at": check_in.slot.due_at.isoformat()}
    given_at = clock.now()
    if where.ping_url and not check_in.is_outdated:  # whose state is that of the latest ping
        _background.put(partial(_if_fresh, given_at, check_in, partial(ping, where.ping_url, check_in)), **details)
    if where.sentry is not None:
        told = partial(check_in_with_sentry, check_in, where.slug, where.sentry, entry)
        _background.put(partial(_if_fresh, given_at, check_in, told), **details)


def _if_fresh(given_at: dt.datetime, check_in: CheckIn, tell: Callable[[], object]) -> None:
    if check_in.word is not Word.START or clock.now() - given_at <= START_HOLDS:
        tell()
