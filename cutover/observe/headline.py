"""The headline: the verdict in one sentence, who leads and who waits, and how far the cutover has come."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cutover.ledger.pauses import SITE, Pause
from cutover.observe.conditions import Severity
from cutover.observe.entries import EntryRecord
from cutover.phases.evidence import detection, leading
from cutover.phases.evidence.pauses import PAUSE, in_words
from cutover.phases.gates.beats import START
from cutover.phases.gates.servers import CLOCKS_REFUSE
from cutover.phases.report import command
from cutover.phases.wording import listed, span, to_the_second
from cutover.plural import counted
from cutover.types import Side, SlotState

STUCK: Final = {
    SlotState.CLAIMED: ("claimed slot is not published", "claimed slots are not published"),
    SlotState.PUBLISHED: ("published slot is started by no worker", "published slots are started by no worker"),
}
UNRECORDED: Final = ("published slot has no recorded run", "published slots have no recorded run")
LOOK_AT: Final = {
    SlotState.CLAIMED: "look at the broker",
    SlotState.PUBLISHED: "look at the workers, and in their log for cutover.guard.failed and cutover.run.deferred",
}
EARLY: Final = (
    "{} sent before their time by the database's clock, the last one of {}, under epoch {}: a clock was ahead; their "
    "entries go on meanwhile, and what was sent early is not sent again at its time; let NTP set the clocks of beats "
    "and database"
)
CLOCKS: Final = (
    "the database's clock, by which slots are sent, is {} {} this host's and Redis's: everything is sent too {}; let "
    "NTP set the clocks"
)
UNASKED: Final = "look at the workers; one without the run guard records no run: {} asks them"
RUNS_UNKNOWN: Final = "whether workers run it is not known until a phase has asked them"
_INSTANTS: Final = {"paused_at", "until", "ended_at"}

Data = Mapping[str, Any]
"""What ``overview.take`` has read, as JSON."""


@dataclass(frozen=True, slots=True)
class Beat:
    """One beat that reported lately: ``role`` is leader, standby, or gone. Empty where its release does not say."""

    name: str
    side: str
    role: str
    release: str
    celery: str
    warm: bool
    entries: int
    seen_ago_s: float

    def __str__(self) -> str:
        told = [self.release and f"release {self.release}", self.celery and f"celery {self.celery}"]
        return ", ".join([f"{self.name} ({self.side})", *filter(None, told), *([] if self.warm else ["not warm"])])


@dataclass(frozen=True, slots=True)
class Headline:
    """How a site is doing, in one sentence and what that rests on. What could not be read is None.

    ``leader``: the living holder of the lease, who leads by this database too; ``idle_lease``: in words, whose it is
    where nobody leads by it; ``lease_remaining_s``: for how long it is held. ``leads_since``: the start of the latest
    term, unless that has ended.
    """

    verdict: str
    severity: Severity
    problems: Sequence[str]
    phase: str | None
    side: str | None
    epoch: int | None
    leader: Beat | None
    others: Sequence[Beat]
    idle_lease: str | None
    lease_remaining_s: float | None
    leads_since: dt.datetime | None

    @property
    def standbys(self) -> Sequence[Beat]:
        """The beats that could take over."""
        return [beat for beat in self.others if beat.role == "standby"]


def headline(seen: Data, entries: Sequence[EntryRecord] | None) -> Headline:
    """What there is to say first. Pure."""
    found = problems(seen)
    beats = [_beat(beat) for beat in seen.get("beats", ())]
    held, term = seen.get("lease"), seen.get("term")
    idle = _idle_lease(seen)
    is_led = held is not None and idle is None
    leader = next((beat for beat in beats if beat.role == "leader"), None)
    if is_led and held and leader is None:  # it has not reported yet
        leader = Beat(held["holder"], held["side"], "leader", "", "", True, 0, 0.0)
    # A site may be meant to have no entry; one that lost them all is not to look well.
    without = Severity.WELL if entries is None else Severity.NOTICE
    severity = max((one.severity for one in entries or ()), default=without)
    return Headline(
        verdict=_verdict(seen, found, leader, entries),
        severity=Severity.PROBLEM if found else severity,
        problems=found,
        phase=seen.get("summary"),
        side=seen.get("side"),
        epoch=seen.get("epoch"),
        leader=leader if is_led else None,
        others=[beat for beat in beats if beat != leader],
        idle_lease=idle,
        lease_remaining_s=held["remaining_s"] if held else None,
        leads_since=dt.datetime.fromisoformat(term["started_at"]) if term and not term["ended_at"] else None,
    )


def _idle_lease(seen: Data) -> str | None:
    held = seen.get("lease")
    if held is not None and held["connected"] is False:
        return f"the lease of the {held['side']} side is a dead beat's"
    if held is not None and "side" in seen and held["epoch"] is None:
        return leading.NOT_HERE.format(held["holder"])
    return None


def _verdict(seen: Data, found: Sequence[str], leader: Beat | None, entries: Sequence[EntryRecord] | None) -> str:
    if found:
        return f"Not healthy: {found[0]}" + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")
    leads = f"{leader.name} leads for the {leader.side} side" if leader else "the active side is led"
    ill = [one for one in entries or () if one.severity is Severity.PROBLEM]
    if ill:
        count = f"{len(ill)} of {counted(len(entries or ()), 'entry')}"
        return f"Look at {count}, first at {ill[0].entry} ({ill[0].findings[0]}); {leads}."
    if entries is not None and not entries:
        return f"Nothing to send: {leads}, and that has no entry."
    if seen.get("guarded_since", "") is None:
        return f"Healthy as far as is known: {leads}, and nothing is overdue to be sent; {RUNS_UNKNOWN}."
    return f"Healthy: {leads}, and nothing is overdue."


def pauses(seen: Data) -> list[Pause]:
    """What is paused. Pure."""
    return [Pause(**{name: _read(name, one[name]) for name in PAUSE.split()}) for one in seen.get("paused", ())]


def _read(name: str, value: Any) -> Any:
    return dt.datetime.fromisoformat(value) if value and name in _INSTANTS else value


def _beat(beat: Data) -> Beat:
    told = {name: beat[name] for name in ("side", "role", "release", "warm", "entries", "seen_ago_s")}
    return Beat(name=f"{beat['host']}:{beat['pid']}", celery=beat.get("celery", ""), **told)


def problems(seen: Data) -> list[str]:
    """Everything that keeps the site from being healthy, a line each. Pure."""
    found = list(seen["not_read"])
    # Whoever asks whether the site is well is to hear that it sends nothing, also where that is somebody's wish.
    found += [f"{in_words(pause)}: nothing is sent" for pause in pauses(seen) if pause.entry == SITE]
    if "lease" in seen and "side" in seen:
        held = seen["lease"]
        if held is None or held["side"] != seen["side"]:
            found.append(f"nobody leads for the {seen['side']} side: {_by_whom(seen)}")
        elif held["connected"] is False:
            dead = f"the leader {held['holder']} is dead or cut off: its connection to Redis is gone"
            found.append(f"{dead}; {_by_whom(seen)}")
        elif held["epoch"] is None:
            found.append(f"nobody leads for the {seen['side']} side: {leading.NOT_HERE.format(held['holder'])}")
    found += listed(seen.get("overdue", []), "", "are overdue", _overdue)
    found += listed([*seen.get("unsendable", {}).items()], "", "are not sent", "{0[0]} is not sent: {0[1]}".format)
    unmoved, alone = seen.get("without_row", []), seen.get("without_entry", [])
    found += listed(unmoved, "", "have no row", "{} is in the code and has no row: nothing sends it".format)
    unknown = "{} is an enabled row that no entry of the code has: nothing sends it"
    found += listed(alone, "", "have no entry in the code", unknown.format)
    for one in seen.get("stuck", []):
        is_unasked = one["state"] == SlotState.PUBLISHED and seen.get("guarded_since", "") is None
        said, remedy = (UNRECORDED, UNASKED) if is_unasked else (STUCK[one["state"]], LOOK_AT[one["state"]])
        remedy = remedy.format(command("phase1"))
        found.append(f"{counted(one['count'], *said)}, the oldest of {_named(one)}: {remedy}")
    ahead_s = seen.get("clock_ahead_s", 0.0)
    if abs(ahead_s) > CLOCKS_REFUSE.total_seconds():
        how = ("ahead of", "early") if ahead_s > 0 else ("behind", "late")
        found.append(CLOCKS.format(span(dt.timedelta(seconds=abs(ahead_s))), *how))
    if ahead := seen.get("early"):
        found.append(EARLY.format(counted(ahead["count"], "slot was", "slots were"), _named(ahead), ahead["epoch"]))
    for one in seen.get("unmanaged_beats", []):
        certain = f"a beat without the lease was heard: {one['origin']}"
        probable = f"probably a beat without the lease: {one['origin']}, {one['probably']}"
        found.append(probable if one["probably"] else certain)
    if tasks := seen.get("unheard_tasks"):
        unheard = detection.Unheard(seen["celery_of_workers"], tasks)
        found.append(f"a beat without the lease {unheard}; {detection.REMEDY}: {command('phase1')} takes that")
    return found


def _by_whom(seen: Data) -> str:
    """Who is to lead where nobody does: whoever stands by, or a beat that is to be started."""
    waiting = [beat for beat in seen.get("beats", ()) if (beat["side"], beat["role"]) == (seen["side"], "standby")]
    if not waiting:
        return START[Side(seen["side"])]
    return f"{_beat(waiting[0]).name} stands by for it; if it does not lead in a moment, look at its log"


def _overdue(late: Data) -> str:
    return f"{late['entry']} is overdue since {_instant(late['due_at'])}"


def _named(one: Data) -> str:
    return f"{one['entry']}, due {_instant(one['due_at'])}"


def _instant(told: str) -> str:
    return to_the_second(dt.datetime.fromisoformat(told))
