"""What is drawn on a terminal, by its width and height, and what keys make of it: without one."""

import datetime as dt
import re

import pytest

from cutover.management.watch import Keys
from cutover.observe.conditions import Condition, Finding
from cutover.observe.entries import EntryRecord
from cutover.observe.headline import headline
from cutover.observe.rows import HEADS, row_of, table
from cutover.observe.screen import Filter, draw
from cutover.observe.status import History, Status
from cutover.phases.report import Outcome
from cutover.types import EntryName, Side
from demo.processes import ROOT
from tests.support.lives import NOW, life

ENTRIES = [
    EntryRecord(EntryName("broken"), Side.CODE, life(), None, (Finding(Condition.FAILING, "on celery@web-1"),)),
    *(
        EntryRecord(EntryName(f"entry-{n}"), Side.CODE, life(), NOW + dt.timedelta(minutes=n + 2))
        for n in range(10_000)
    ),
]
FIRST = headline({"not_read": []}, ENTRIES)
STATUS = Status("status", Outcome.DONE, at=NOW, headline=FIRST, around=["Leader    web:1"], entries=ENTRIES)
CODES = re.compile(r"\x1b\[[\d;]*m")


def drawn(width: int, height: int, wanted: Filter | None = None) -> list[str]:
    return CODES.sub("", draw(STATUS, width, height, wanted)).splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 50)])
def test_of_ten_thousand_entries_as_many_are_shown_as_fit_the_worst_first(width: int, height: int) -> None:
    lines = drawn(width, height)
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("Look at 1 of 10,001 entries, first at broken (failing: on celery@web-1);")
    assert [line for line in lines if "failing: on celery@web-1" in line][-1].startswith("✗ broken")
    rows = [line for line in lines if line.startswith("✓ entry-")]
    assert len(rows) >= height - 9
    assert re.search(rf"^and {10_000 - len(rows)} more, all well$", lines[-1])
    assert re.search(r"^✓ entry-0 +60 s ago +ok 2.0 s +in 2 min +celery@web-1, started \+1.0 s *$", rows[0])


@pytest.mark.parametrize(("width", "height"), [(10, 24), (20, 3), (80, 8), (1, 1)])
def test_on_a_screen_too_small_the_verdict_is_what_stays(width: int, height: int) -> None:
    lines = CODES.sub("", draw(STATUS, width, height, foot="q quit   / filter")).split("\n")
    assert len(lines) == height
    assert lines[0].startswith("Look at 1"[:width])


@pytest.mark.parametrize("width", range(8, 90))
def test_a_narrow_terminal_has_fewer_columns_none_of_them_cut_and_each_row_its_mark(width: int) -> None:
    lines = drawn(width, 60)
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if line.startswith(("✗ ", "✓ "))]
    assert [row[0] for row in rows] == ["✗", *["✓"] * (len(rows) - 1)]
    assert len(rows) >= 5
    heads = lines[lines.index(rows[0]) - 1].split()
    kept = [head for head in ("run", "last", "next") if head in heads]
    assert kept == ["run", "last", "next"][: len(kept)], "the next one is left out first"
    assert len(kept) == (3 if width >= 53 else 0 if width < 30 else len(kept)), heads
    assert width < 20 or rows[0].startswith("✗ brok")


@pytest.mark.parametrize("terminal", ["unknown", "dumb", ""])
def test_the_width_is_that_of_the_terminal_whatever_its_name(terminal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", terminal)
    assert max(map(len, drawn(30, 24))) <= 30


def test_a_name_moves_no_cursor_and_stays_in_its_line() -> None:
    name = EntryName("two\nlines \x1b[2J\x9b \u202etxt\ttab")
    finding = Finding(Condition.FAILING, "on w: \x1b]0;title\x07")
    entries = [EntryRecord(name, Side.CODE, life(error="\x1b[31m"), None, (finding,))]
    first = headline({"not_read": ["no\x1b[1manswer"]}, entries)
    one = Status("status", Outcome.DONE, at=NOW, headline=first, around=["Leader    \x1b[1m"], entries=entries)
    text = CODES.sub("", draw(one, 200, 30))
    assert text.replace("\n", "").isprintable()
    assert r"✗ two\nlines \x1b[2J\x9b \u202etxt tab" in text
    past = History("status", Outcome.DONE, title=name, slots=[life(reason="\x1b[2J")])
    assert CODES.sub("", draw(past, 200, 30)).replace("\n", "").isprintable()
    assert len(table(HEADS, [row_of(entries[0], NOW)])) == 2
    assert "\n".join(table(HEADS, [row_of(entries[0], NOW)])).replace("\n", "").isprintable()


def test_a_filter_keeps_what_it_names_or_what_is_wrong() -> None:
    assert drawn(80, 24, Filter("entry-77"))[-1] == "only entries named *entry-77*: 111 of 10001"
    assert drawn(80, 24, Filter(is_wrong_only=True))[-1] == "only entries with something wrong: 1 of 10001"


def test_a_history_is_drawn_newest_first() -> None:
    slots = [life(due_at=NOW - dt.timedelta(minutes=n)) for n in range(20)]
    lines = CODES.sub("", draw(History("status", Outcome.DONE, title="a", slots=slots), 100, 10)).splitlines()
    assert lines[0] == "a"
    assert [line.split()[2] for line in lines[2:]] == [f"{slot.due_at:%H:%M:%S}" for slot in slots[:7]]


@pytest.mark.parametrize(
    ("typed", "wanted", "is_over"),
    [
        ("x", Filter(), False),
        ("q", Filter(), True),
        ("w", Filter(is_wrong_only=True), False),
        ("ww", Filter(), False),
        ("/qw", Filter("qw"), False),
        ("/dailz\x7fy\rw", Filter("daily", is_wrong_only=True), False),
        ("/daily\x1b", Filter(), False),
        ("w\x1b", Filter(), False),
        ("/daily\rq", Filter("daily"), True),
    ],
)
def test_keys_filter_and_quit(typed: str, wanted: Filter, is_over: bool) -> None:
    keys = Keys()
    for key in typed:
        keys = keys.pressed(key)
    assert (keys.wanted, keys.is_over) == (wanted, is_over)


def test_who_does_not_look_at_a_terminal_does_not_wait_for_rich() -> None:
    package = ROOT / "cutover"
    tops = re.compile(r"^(?:from|import) (.+)", re.MULTILINE)
    at_the_top = {str(file.relative_to(package)): tops.findall(file.read_text()) for file in package.rglob("*.py")}
    of_rich = {name for name, lines in at_the_top.items() if any(line.startswith("rich") for line in lines)}
    of_screen = {name for name, lines in at_the_top.items() if any("observe.screen" in line for line in lines)}
    assert (of_rich, of_screen) == ({"observe/screen.py"}, {"management/watch.py"}), (
        "and watch.py is imported by --watch alone"
    )
