"""What an operator looks at is what happened: report, status and page against a census made from outside.

Everything goes wrong once: a slot is swept, a message comes twice, slots are missed, two leaders die, runs fail and ask
for a retry; and a switch in between. The census is what the broker was handed and what the tasks wrote.
"""

import datetime as dt
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from cutover.plural import counted
from demo.census import Handed, Slot, per_slot, read_runs
from demo.processes import python
from demo.waiting import wait_until
from tests.support.html import Page, Text

from .actions import freeze, kill_at, run, term, thaw
from .pages import SITE
from .schedule import WITNESSED
from .stage import Stage
from .tasks import FAILED, RETRIED
from .theatre import Theatre

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

GAP: Final = dt.timedelta(seconds=4)
"""So long nobody leads, and some slots of entries that are due more often are missed."""
ERRORS: Final = {
    FAILED: "ConnectionError: the calendar did not answer",
    RETRIED: "TimeoutError: the mail server is busy",
}
SECRET: Final = "not for the eyes"
MOMENT: Final = dt.timedelta(seconds=1)
WORDS: Final = {"succeeded": "ok", FAILED: "failed", RETRIED: "to retry", "missed": "missed"}


@dataclass
class Census:
    """What became of each slot, by the broker's record and by what the tasks wrote; ``ends``: of each leader's process.

    ``fates``: missed, or as the run says. ``twice``: how many further messages there were.
    """

    fates: dict[Slot, str] = field(default_factory=dict)
    first: dict[Slot, Handed] = field(default_factory=dict)
    twice: dict[Slot, int] = field(default_factory=dict)
    leaders: list[int] = field(default_factory=list)
    sides: dict[int, str] = field(default_factory=dict)

    def until(self, until: dt.datetime) -> "Census":
        """The same of what was due by then."""
        kept = {slot for slot in self.fates if slot.due_at <= until}
        parts = ({slot: one[slot] for slot in kept & one.keys()} for one in (self.fates, self.first, self.twice))
        return Census(*parts, self.leaders, self.sides)

    def of(self, fate: str) -> set[Slot]:
        """The slots of which that became."""
        return {slot for slot, one in self.fates.items() if one == fate}

    def side(self, slot: Slot) -> str:
        """The side whose beat handed it over first; of a missed one that of the next slot of its entry."""
        next_sent = min((one for one in self.first if one.entry == slot.entry and one >= slot), default=None)
        return self.sides[_process(self.first[next_sent])] if next_sent else self.sides[self.leaders[-1]]


def take_census(stage: Stage, sides: Mapping[int, str]) -> Census:
    """What is to be seen from outside. AssertionError where a slot has run twice, or neither ran nor was passed."""
    handed = sent(stage)
    runs = [one for one in read_runs(stage.site.runs) if one.slot and not one.label.startswith("tests.")]
    begin = min(one.slot.due_at - WITNESSED[one.slot.entry] for one in handed)
    last = {name: max(one.slot.due_at for one in handed if one.slot.entry == name) for name in WITNESSED}
    assert set(per_slot(runs).values()) == {1}, "the guard lets each run once"
    fates: dict[Slot, str] = {}
    for name, every in WITNESSED.items():
        fates |= {Slot(begin + n * every, name): "missed" for n in range(1, (last[name] - begin) // every + 1)}
    assert {one.slot for one in handed} <= fates.keys(), "nothing is sent off the cadence"
    fates |= {one.slot: one.label if one.label in ERRORS else "succeeded" for one in runs}
    first: dict[Slot, Handed] = {}
    for one in handed:
        first.setdefault(one.slot, one)
    assert first.keys() == {slot for slot, fate in fates.items() if fate != "missed"}, "what was sent has run"
    twice = {slot: count - 1 for slot, count in per_slot(handed).items() if count > 1}
    leaders = list(dict.fromkeys(map(_process, handed)))
    return Census(fates, first, twice, leaders, dict(sides))


def sent(stage: Stage) -> list[Handed]:
    """What beats have sent of slots; without what a task sends to be tried again."""
    return [one for one in stage.published if one.slot and not one.retries]


def _process(message: Handed) -> int:
    """The process that made a message."""
    found = re.match(r"gen(\d+)@", message.origin)
    assert found, message
    return int(found[1])


def play(stage: Stage) -> tuple[dict[int, str], dt.datetime]:
    """Each fault once. Returns the side of every beat by its process, and when a leader died that had only claimed."""
    sides: dict[int, str] = {}

    def note() -> None:
        sides.update({one.process.pid: one.kind for one in stage.cast.values() if one.kind != "worker"})

    stage.engage("code", "code", "database", "database", "worker")
    note()
    stage.let_workers_be_known()
    freeze(stage, stage.cast["worker-1"])  # else it has run the slot before the next leader asks
    kill_at(stage, stage.leader(), "published")
    wait_until(lambda: max(per_slot(sent(stage)).values()) > 1, "the next leader has sent it again")
    stage.heal()
    note()
    run(stage, "phase2")
    run(stage, "phase3")
    leader, standby = stage.leader(), stage.standby()
    freeze(stage, standby)
    wait_until(lambda: leader.process.pid in map(_process, sent(stage)), "the new leader has sent a slot")
    kill_at(stage, leader, "claimed")
    died_at = dt.datetime.now(dt.UTC)
    again_at = died_at + GAP
    wait_until(lambda: dt.datetime.now(dt.UTC) > again_at, "nobody has led for a while")
    thaw(stage, standby)
    stage.heal()
    note()
    settled_at = dt.datetime.now(dt.UTC) + max(WITNESSED.values())
    wait_until(lambda: dt.datetime.now(dt.UTC) > settled_at, "the last leader has sent some of each")
    return sides, died_at


def come_to_rest(stage: Stage) -> None:
    """Stop the beats, the leader last, and wait until the worker has dealt with every message."""
    leader = stage.leader()
    for member in sorted(stage.cast.values(), key=lambda one: one is leader):
        if member.kind != "worker":
            term(stage, member)

    def is_done() -> bool:
        dropped = sum(row[0] for row in stage.books.query("SELECT deduplicated FROM cutover_slot"))
        ran = per_slot(one for one in read_runs(stage.site.runs) if not one.label.startswith("tests."))
        return len(sent(stage)) == len(ran) + dropped

    wait_until(is_done, "every message was run or dropped", timeout_s=30)


def test_report_status_and_page_show_what_happened_each_in_its_place_and_nothing_else(theatre: Theatre) -> None:
    env = {"CODE_SCHEDULE": "tests.faults.schedule.witnessed", "VISIBILITY_TIMEOUT": "3600"}
    with theatre.build(**env) as stage:
        sides, died_at = play(stage)
        html, data = stage.site.directory / "report.html", stage.site.directory / "report.json"
        run(stage, "report", "--since", "1h", "--html", str(html), "--json", str(data))
        come_to_rest(stage)
        census = take_census(stage, sides)
        named = stage.site.directory / "slots.json"
        named.write_text(json.dumps([(slot.entry, slot.due_at.isoformat()) for slot in census.fates]))
        status = stage.site.status()
        looked = stage.site.run(*python("-m", "tests.faults.pages", str(named)))
        assert looked.exit_code == 0, looked.output
        pages = {address: Page(text) for address, text in json.loads(looked.output.splitlines()[-1]).items()}
    report = json.loads(data.read_text())
    by_then = census.until(dt.datetime.fromisoformat(report["until"]))
    for fate in WORDS:
        assert by_then.of(fate), f"the play has a slot that is {fate}"
    assert by_then.twice
    hold_report(report, by_then)
    hold_document(Page(html.read_text()), report)
    hold_status(status, census)
    hold_site(pages.pop(SITE), census)
    hold_entries({name: page for name, page in pages.items() if "/entry/" in name}, census)
    swept = hold_lives({name: page for name, page in pages.items() if "/slot/" in name}, census, died_at)
    assert swept, "the last leader publishes what the one before had claimed"
    assert SECRET not in looked.output + html.read_text() + data.read_text() + json.dumps(status)


def hold_report(report: Mapping[str, Any], census: Census) -> None:
    """The report's data."""
    expected = Counter(census.fates.values())
    assert {name: count for name, count in report["fates"].items() if count} == expected
    assert (report["slots"], report["deduplicated"]) == (expected.total(), sum(census.twice.values()))
    for entry in report["entries"]:
        of_entry = [slot for slot in census.fates if slot.entry == entry["entry"]]
        assert {name: count for name, count in entry["fates"].items() if count} == Counter(
            census.fates[slot] for slot in of_entry
        )
        assert set(entry["sides"]) == {census.side(slot) for slot in of_entry}
    listed = {one["kind"]: one for one in report["listed"]}
    kinds = {"missed": census.of("missed"), "failed": census.of(FAILED), "deduplicated": set(census.twice)}
    for kind, slots in kinds.items():
        assert {_slot(one) for one in listed[kind]["slots"]} == slots, kind
        assert {one["side"] for one in listed[kind]["slots"]} == {census.side(slot) for slot in slots}, kind
    assert {_slot(one): one["deduplicated"] for one in listed["deduplicated"]["slots"]} == census.twice
    assert {one["error"] for one in listed["failed"]["slots"]} == {ERRORS[FAILED]}
    assert [listed[kind]["total"] for kind in ("unsent", "lost")] == [0, 0]
    assert [(term["pid"], term["side"]) for term in report["terms"]] == [
        (pid, census.sides[pid]) for pid in census.leaders
    ]
    terms = {term["epoch"]: term for term in report["terms"]}
    for one in (row for kind in listed.values() for row in kind["slots"]):
        if (first := census.first.get(_slot(one))) is not None:
            owner = terms[one["epoch"]]
            assert owner["pid"] == _process(first) or owner["ended_at"] < first.at.isoformat(), "or it was swept"
    hold_switch(report, census)


def hold_switch(report: Mapping[str, Any], census: Census) -> None:
    """The switch is between the last message of one side and the first of the other."""
    [switched] = [step["at"] for step in report["steps"] if step["step"] == "switch"]
    by_side = {side: [one.at for one in census.first.values() if census.sides[_process(one)] == side] for side in SIDES}
    assert max(by_side["code"]) - MOMENT < dt.datetime.fromisoformat(switched) < min(by_side["database"])
    finished = [step["phase"] for step in report["steps"] if step["step"] == "finish"]
    assert finished == ["phase1", "phase2", "phase3"]


SIDES: Final = ("code", "database")


def hold_document(page: Page, report: Mapping[str, Any]) -> None:
    """The report's page has the same tables as its data."""
    titles = {"missed": "Missed: ", "failed": "Runs that failed: ", "deduplicated": "Further messages, "}
    for listed in report["listed"]:
        if (title := titles.get(listed["kind"])) is None:
            continue
        table = page.table(title)
        assert table.title.startswith(f"{title}{'deduplicated: ' if 'Further' in title else ''}{listed['total']}")
        rows = [(str(row[0]), _local(str(row[1])), str(row[2])) for row in table.rows]
        assert rows == [(one["entry"], _second(one["due_at"]), one["side"]) for one in listed["slots"]]
        if listed["kind"] == "failed":
            assert {str(row[-1]) for row in table.rows} == {ERRORS[FAILED]}
    missed = sum(1 for title in page.titles if re.search(r": \d+ missed, from", title))
    assert missed == len({one["entry"] for one in report["listed"][0]["slots"]}), "the timeline has a shape for each"
    told = [title for title in page.titles if title.startswith("epoch ")]
    assert [
        (f":{term['pid']} led for the {term['side']} side" in said)
        for term, said in zip(report["terms"], told, strict=True)
    ] == [True] * len(told)


def hold_status(status: Mapping[str, Any], census: Census) -> None:
    """Status, once nobody sends."""
    assert {_slot(one) for one in status["missed"]} == census.of("missed")
    assert (status["missed_total"], status["deduplicated"]) == (
        len(census.of("missed")),
        sum(census.twice.values()),
    )
    assert status["unpublished"] == 0
    for entry in status["entries"]:
        latest = max(slot for slot in census.fates if slot.entry == entry["entry"])
        last = entry["last"]
        assert dt.datetime.fromisoformat(last["due_at"]) == latest.due_at
        fate = census.fates[latest]
        assert (last["outcome"], last["error"]) == (fate, ERRORS.get(fate, ""))
        found = {one["condition"] for one in entry["findings"]} - {"overdue"}
        expected = {FAILED: "failing", RETRIED: "retrying"}.get(fate)
        more = {
            "missed_earlier": any(slot.entry == entry["entry"] for slot in census.of("missed")),
            "deduplicated": any(slot.entry == entry["entry"] for slot in census.twice),
            expected: expected is not None,
        }
        assert found == {name for name, is_so in more.items() if is_so}
    assert status["term"]["ended_at"]


def hold_site(page: Page, census: Census) -> None:
    """Everything at a glance: terms, and a mark for each slot of the timeline."""
    terms = page.table("Who led")
    assert [(str(row[1]), str(row[2]).rpartition(":")[2]) for row in reversed(terms.rows)] == [
        (census.sides[pid], str(pid)) for pid in census.leaders
    ]
    marks = Counter(name for name in page.named if re.search(r" side(, \d+ further messages? dropped)?$", name))
    expected = Counter(_mark(slot, census) for slot in census.fates)
    assert Counter(re.sub(r"(ok|failed|to retry) -?[\d.]+ m?s,", r"\1,", name) for name in marks.elements()) == expected
    assert [str(row[0]) for row in page.table("What was done").rows if str(row[1]) == "finish"] == [
        *("phase3", "phase2", "phase1")
    ]


def _mark(slot: Slot, census: Census) -> str:
    more = f", {counted(census.twice[slot], 'further message')} dropped" if slot in census.twice else ""
    return f"{slot.entry}, {slot.due_at:%H:%M:%S}: {WORDS[census.fates[slot]]}, {census.side(slot)} side{more}"


def hold_entries(pages: Mapping[str, Page], census: Census) -> None:
    """Each entry's slots, all of them, newest first."""
    shown: list[Slot] = []
    rows = [(page.heading, row) for page in pages.values() for row in page.table("Its slots").rows]
    for name, (state, due, side, run_, *_, notes) in rows:
        slot = Slot(_at(due), name)
        shown.append(slot)
        fate = census.fates[slot]
        assert str(run_).startswith(WORDS[fate])
        assert str(side) == census.side(slot)
        assert (ERRORS.get(fate, "") in str(notes)) and all(
            error not in str(notes) for one, error in ERRORS.items() if one != fate
        )
        dropped = census.twice.get(slot)
        assert (f"further messages dropped: {dropped}" in str(notes)) is bool(dropped)
        is_ill = fate in ("missed", FAILED)
        assert str(state) == ("problem" if is_ill else "notice" if dropped or fate == RETRIED else "well")
    assert sorted(shown) == sorted(census.fates), "each once"


def hold_lives(pages: Mapping[str, Page], census: Census, died_at: dt.datetime) -> set[Slot]:
    """Each slot's own page: by whom it was claimed, and what followed. Returns the slots that were swept."""
    swept = set()
    for page in pages.values():
        events = {str(item).split()[0]: item for item in page.items if str(item).split()[0] in EVENTS}
        slot = Slot(_at(events["Due"]), str(events["Due"]).split()[-1])
        fate = census.fates[slot]
        if fate == "missed":
            assert events.keys() == {"Due", "Missed"}
            continue
        claimed = re.search(r":(\d+) \((\w+) side\)", str(events["Claimed"]))
        assert claimed is not None
        assert claimed[2] == census.side(slot)
        publisher = _process(census.first[slot])
        if int(claimed[1]) != publisher:
            assert (int(claimed[1]), publisher) == tuple(census.leaders[2:]), "the one before has claimed it"
            assert _at(events["Claimed"]) <= died_at <= _at(events["Published"])
            swept.add(slot)
        assert ("Deduplicated" in events) is (slot in census.twice)
        assert ERRORS.get(fate, "took") in str(events["Ended"])
    return swept


EVENTS: Final = {"Due", "Claimed", "Published", "Resent", "Missed", "Started", "Deduplicated", "Ended"}


def _at(item: Text) -> dt.datetime:
    return dt.datetime.fromisoformat(item.at[0])


def _slot(row: Mapping[str, Any]) -> Slot:
    return Slot(dt.datetime.fromisoformat(row["due_at"]), row["entry"])


def _second(iso: str) -> dt.datetime:
    return dt.datetime.fromisoformat(iso).replace(microsecond=0)


def _local(shown: str) -> dt.datetime:
    return dt.datetime.strptime(shown, "%Y-%m-%d %H:%M:%S %z")
