"""Fire times: celery's own ``is_due``, stepped through time, is the judge."""

import datetime as dt
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count, islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from celery import Celery, schedules
from celery.schedules import crontab, schedule, solar
from django_celery_beat.clockedschedule import clocked
from django_celery_beat.tzcrontab import TzAwareCrontab
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from cutover.schedules.due import next_due, owed
from cutover.schedules.fingerprint import fingerprint
from cutover.schedules.timetable import ENUMERATED, Timetable, Timetables, interval, timetable
from cutover.types import CatchUp, Cursor

ZONES = (
    "UTC",
    "Europe/London",
    "Europe/Berlin",
    "Africa/Casablanca",  # summer time all year but for Ramadan
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",  # -3:30, with summer time
    "Asia/Kolkata",  # +5:30
    "Asia/Kathmandu",  # +5:45
    "Australia/Adelaide",  # +9:30, with summer time of the south
    "Australia/Lord_Howe",  # summer time of half an hour
    "Pacific/Chatham",  # +12:45, with summer time
    "Pacific/Kiritimati",  # +14
    "America/Havana",  # repeats the hour before midnight's end
)
CHANGES = (
    dt.datetime(2026, 3, 8, tzinfo=dt.UTC),
    dt.datetime(2026, 3, 29, tzinfo=dt.UTC),
    dt.datetime(2026, 4, 5, tzinfo=dt.UTC),
    dt.datetime(2026, 9, 27, tzinfo=dt.UTC),
    dt.datetime(2026, 10, 4, tzinfo=dt.UTC),
    dt.datetime(2026, 10, 25, tzinfo=dt.UTC),
    dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
    dt.datetime(2028, 2, 28, tzinfo=dt.UTC),
)
SECOND = dt.timedelta(seconds=1)
MINUTE = dt.timedelta(minutes=1)
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)
FAR = 10_000 * DAY


@cache
def app(zone: str) -> Celery:
    return Celery(f"in-{zone}", set_as_current=False, config_source={"timezone": zone})


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def local(text: str, zone: str, fold: int = 0) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(dt.UTC)


def is_repeated(instant: dt.datetime, zone: str) -> bool:
    """Whether the instant lies in the second round of an hour that is put back."""
    return instant.astimezone(ZoneInfo(zone)).fold == 1


def fires_of_celery(
    entry: schedules.BaseSchedule, begin: dt.datetime, span: dt.timedelta, cap: dt.timedelta
) -> list[dt.datetime]:
    """Beat's own loop, without the waiting: ask ``is_due``, note a run, sleep as told but no longer than ``cap``."""
    now, last, found = begin, begin, []
    entry.nowfun = lambda: now.astimezone(entry.tz)
    while now < begin + span:
        due, wait_s = entry.is_due(last.astimezone(entry.tz))
        if due:
            found.append(now)
            last = now
        now += max(min(dt.timedelta(seconds=wait_s), cap), dt.timedelta(microseconds=1))
    return found


def walk(table: Timetable, begin: dt.datetime, until: dt.datetime) -> Iterator[dt.datetime]:
    found = table.next_after(begin)
    while found is not None and found <= until:
        yield found
        found = table.next_after(found)


def milliseconds(instants: list[dt.datetime]) -> list[str]:
    """Seconds as floats, by which beat sleeps, are off by a microsecond at times."""
    return [(i + dt.timedelta(microseconds=500)).isoformat(timespec="milliseconds") for i in instants]


def field(low: int, high: int) -> st.SearchStrategy[object]:
    numbers = st.integers(low, high)
    several = st.sets(numbers, min_size=1, max_size=4)
    return st.one_of(
        st.just("*"),
        numbers,
        numbers.map(str),
        st.integers(2, high).map(lambda n: f"*/{n}"),
        several.map(lambda s: ",".join(map(str, s))),
        several,
        several.map(list),
        st.tuples(numbers, numbers).map(lambda p: f"{min(p)}-{max(p)}"),
        st.tuples(numbers, numbers, st.integers(1, 5)).map(lambda p: f"{min(p[:2])}-{max(p[:2])}/{p[2]}"),
    )


WEEKDAYS = st.one_of(field(0, 6), st.sampled_from(["mon-fri", "sunday", "sat,sun", "fri-mon"]))
TIMES = {"minute": field(0, 59), "hour": field(0, 23)}
DAYS = {"day_of_week": WEEKDAYS, "day_of_month": field(1, 31), "month_of_year": field(1, 12)}
BEGINS = st.builds(
    lambda change, minutes: change + minutes * MINUTE,
    st.sampled_from(CHANGES),
    st.integers(-26 * 60, 26 * 60),
)


@st.composite
def crontabs(draw: st.DrawFn, **fields: st.SearchStrategy[object]) -> tuple[Callable[[], crontab], str]:
    """A crontab of one side or the other: of the app's zone, or of its own; made again whenever asked for."""
    zone = draw(st.sampled_from(ZONES))
    values = {name: draw(strategy) for name, strategy in fields.items()}
    kind = draw(st.sampled_from(["code", "row"]))

    def make() -> crontab:
        if kind == "code":
            return crontab(**values, app=app(zone))
        return TzAwareCrontab(**values, tz=ZoneInfo(zone), app=app("UTC"))

    try:
        make()
    except (ValueError, schedules.ParseException):
        assume(False)  # the 30th of February
    return make, zone


# --- crontabs -------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(crontabs(**TIMES), BEGINS)
def test_crontab_by_the_minute_fires_when_celery_says_so(made, begin):
    agree_with_celery(made, begin, span=50 * HOUR, cap=20 * MINUTE)


@settings(max_examples=40, deadline=None)
@given(crontabs(**TIMES, day_of_week=WEEKDAYS), BEGINS)
def test_crontab_by_the_weekday_fires_when_celery_says_so(made, begin):
    agree_with_celery(made, begin, span=9 * DAY, cap=2 * HOUR)


@settings(max_examples=40, deadline=None)
@given(crontabs(minute=st.sampled_from([0, 30, "0,45"]), hour=st.sampled_from([0, 1, 2, 23, "1-3"]), **DAYS), BEGINS)
def test_crontab_by_day_and_month_fires_when_celery_says_so(made, begin):
    agree_with_celery(made, begin, span=400 * DAY, cap=DAY)


def agree_with_celery(
    made: tuple[Callable[[], crontab], str], begin: dt.datetime, span: dt.timedelta, cap: dt.timedelta
) -> None:
    make, zone = made
    # There a beat that was just started sends without end; here the repeated hour has no slots.
    assume(not is_repeated(begin, zone))
    ours = list(islice(walk(timetable(make()), begin, begin + span), 2_000))
    until = ours[-1] if len(ours) == 2_000 else begin + span
    theirs = [at for at in fires_of_celery(make(), begin, until - begin, cap) if at < until]
    assert milliseconds([at for at in ours if at < until]) == milliseconds(theirs)


def test_leap_day_is_found_years_ahead():
    table = timetable(crontab(minute=0, hour=12, day_of_month=29, month_of_year=2, app=app("UTC")))
    assert list(walk(table, utc("2026-03-01"), utc("2034-01-01"))) == [utc("2028-02-29T12:00"), utc("2032-02-29T12:00")]


def test_day_of_month_and_day_of_week_must_both_hold():
    table = timetable(crontab(minute=0, hour=0, day_of_month=13, day_of_week="fri", app=app("UTC")))
    assert list(walk(table, utc("2026-01-01"), utc("2026-12-31"))) == [
        utc("2026-02-13"),
        utc("2026-03-13"),
        utc("2026-11-13"),
    ]


@pytest.mark.parametrize("zone", ["Europe/London", "America/New_York", "Australia/Lord_Howe"])
def test_a_repeated_hour_has_no_slots_of_its_own(zone):
    table = timetable(crontab(app=app(zone)))
    for change in CHANGES:
        every = list(walk(table, change - 30 * HOUR, change + 30 * HOUR))
        assert not any(is_repeated(at, zone) for at in every)


@pytest.mark.parametrize(("minute", "first"), [("*", 0), ("*/15", 0), ("30", 30)])
def test_standing_within_a_repeated_hour_changes_no_slot(minute, first):
    table = timetable(crontab(minute=minute, app=app("Europe/London")))
    for minutes in range(0, 60, 7):
        instant = local("2026-10-25T01:00", "Europe/London", fold=1) + minutes * MINUTE
        assert table.next_after(instant) == local(f"2026-10-25T02:{first:02}", "Europe/London")


def test_a_time_that_spring_leaves_out_is_sent_once_an_hour_later():
    table = timetable(crontab(minute=30, hour=1, app=app("Europe/London")))
    begin = local("2026-03-28T12:00", "Europe/London")
    assert list(walk(table, begin, begin + 2 * DAY)) == [
        local("2026-03-29T02:30", "Europe/London"),
        local("2026-03-30T01:30", "Europe/London"),
    ]


@settings(max_examples=150, deadline=None)
@given(crontabs(**TIMES), BEGINS, st.integers(0, 30 * 60))
@example((lambda: crontab(app=app("Europe/London")), "Europe/London"), utc("2026-10-24T23:59"), 91)
@example(
    (lambda: crontab(minute="*/7", app=app("Australia/Lord_Howe")), "Australia/Lord_Howe"), utc("2026-04-04T14:00"), 75
)
def test_latest_is_the_last_of_all_slots(made, begin, minutes):
    make, _ = made
    table, until = timetable(make()), begin + minutes * MINUTE
    # From a slot, as `owed` asks: where spring leaves an hour out, a beat that starts in it sees other slots.
    first = table.next_after(begin)
    assume(first is not None and first <= until)
    assert table.latest(first, until) == max(walk(table, first, until), default=None)


@pytest.mark.parametrize("zone", ["Europe/London", "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize("fields", [{"minute": "*/5"}, {"minute": 30, "hour": 1}, {"minute": 15, "hour": "*/2"}])
def test_what_was_answered_before_changes_no_answer(zone, fields):
    """Entries of one schedule share its timetable, which remembers what it said; here when the clocks change."""

    def made():
        return timetable(TzAwareCrontab(tz=ZoneInfo(zone), app=app(zone), **fields))

    shared = made()
    for day in ("2025-03-08", "2025-03-29", "2025-04-05", "2025-10-04", "2025-10-25", "2025-11-01"):
        begin = utc(f"{day}T12:00")
        # Up and down: from before what was asked last, and from after it.
        for minutes in (*range(0, 1_200, 31), *range(1_200, 0, -47)):
            instant = begin + dt.timedelta(minutes=minutes)
            assert shared.next_after(instant) == made().next_after(instant), instant


def test_of_entries_on_one_schedule_celery_is_asked_for_one(monkeypatch):
    """Rows were saved at different instants: with ten thousand of them a beat's start would take a second more."""
    asked: list[dt.datetime] = []
    remaining = crontab.remaining_delta
    monkeypatch.setattr(crontab, "remaining_delta", lambda self, *a: asked.append(a[0]) or remaining(self, *a))
    table = timetable(crontab(minute=0, hour=0, app=app("UTC")))
    begin = utc("2025-06-01T12:00")
    found = {table.next_after(begin + number * dt.timedelta(seconds=1)) for number in range(1_000)}
    assert found == {utc("2025-06-02T00:00")}
    assert len(asked) == 1


@pytest.mark.parametrize("kind", [crontab, TzAwareCrontab])
def test_a_crontab_is_not_read_again_for_its_timetable(monkeypatch, kind):
    made = kind(minute="*/20", hour="9-17", app=app("UTC"))
    monkeypatch.setattr(crontab, "_expand_cronspec", lambda *given: pytest.fail("a field is read again"))
    table = timetable(made)
    assert table.next_after(utc("2026-05-05T09:05")) == utc("2026-05-05T09:20")
    assert "now" not in vars(made), "and left as it was"


def test_entries_on_one_schedule_share_one_timetable():
    one, other = (crontab(minute=0, app=app("UTC")) for _ in range(2))
    tables = Timetables()
    assert tables.of(one) is tables.of(one)
    assert tables.of(other) is not tables.of(one)
    found = {id(tables.of(crontab(minute=minute, app=app("UTC")))) for minute in range(60)}
    assert len(found) == 60, "none has the identity of one that is gone"


def test_latest_of_a_sparse_crontab_is_found_over_years():
    table = timetable(crontab(minute=0, hour=12, day_of_month=29, month_of_year=2, app=app("UTC")))
    assert table.latest(utc("2001-01-01"), utc("2031-12-31")) == utc("2028-02-29T12:00")
    assert table.latest(utc("2028-02-29T12:00"), utc("2031-12-31")) is None


def test_an_instant_that_is_a_slot_is_its_own_latest_and_not_its_own_next():
    table = timetable(crontab(minute=0, app=app("UTC")))
    slot = utc("2026-05-05T05:00")
    assert table.latest(slot - DAY, slot) == slot
    assert table.next_after(slot) == slot + HOUR
    assert table.next_after(slot - dt.timedelta(microseconds=1)) == slot


# --- intervals ------------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    st.timedeltas(min_value=dt.timedelta(milliseconds=100), max_value=40 * DAY),
    st.lists(st.timedeltas(min_value=dt.timedelta(0), max_value=90 * DAY), max_size=8),
)
def test_an_interval_never_drifts_however_late_it_is_asked(every, delays):
    table = timetable(schedule(every, app=app("UTC")))
    first = now = last = utc("2026-01-01T00:00:07")
    for delay in delays:
        now += delay
        found = owed(table, Cursor(last, first), now, CatchUp.LATEST, FAR, MINUTE)
        if found.send is None:
            assert now < last + every
            continue
        assert (found.send - first) % every == dt.timedelta(0)
        assert found.send <= now < found.send + every
        last = found.send


@pytest.mark.parametrize("every", [SECOND, 90 * SECOND, HOUR, DAY, 7 * DAY])
def test_an_interval_fires_when_celery_says_so(every):
    begin = utc("2026-03-28T00:00")
    theirs = fires_of_celery(schedule(every, app=app("Europe/London")), begin, 20 * every, every / 3)
    assert (
        milliseconds(list(walk(timetable(schedule(every)), begin, begin + 20 * every))[:19])
        == milliseconds(theirs)[:19]
    )


def test_an_interval_keeps_its_phase_across_the_moment_from_which_slots_are_owed():
    table = timetable(schedule(HOUR))
    standing = Cursor(utc("2026-01-01T00:10"), eligible_since=utc("2026-01-01T05:30"))
    assert next_due(table, standing) == utc("2026-01-01T06:10")


def test_an_interval_is_known_from_every_other_timetable():
    assert interval(timetable(schedule(HOUR))) == HOUR
    assert interval(timetable(crontab(app=app("UTC")))) is None
    assert interval(timetable(schedule(HOUR, relative=True, app=app("UTC")))) is None


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("every", [HOUR, 6 * HOUR, DAY])
def test_a_relative_interval_fires_when_celery_says_so(zone, every):
    begin = utc("2026-03-27T17:20")
    theirs = fires_of_celery(schedule(every, relative=True, app=app(zone)), begin, 5 * DAY, HOUR)
    ours = list(walk(timetable(schedule(every, relative=True, app=app(zone))), begin, begin + 5 * DAY))
    assert milliseconds([at for at in ours if at < begin + 5 * DAY]) == milliseconds(theirs)


def test_a_relative_intervals_latest_slot_is_found_at_once_however_long_it_was_off(monkeypatch):
    every = dt.timedelta(seconds=30)
    table = timetable(schedule(every, relative=True, app=app("Europe/Berlin")))
    last = utc("2025-01-01T00:00:07")
    near = [at for at in walk(table, last, last + HOUR) if at <= last + HOUR]
    assert table.latest(last, last + HOUR) == near[-1]
    asked = count()
    following = table.next_after
    monkeypatch.setattr(table, "next_after", lambda at: (next(asked), following(at))[1])
    found = table.latest(last, last + 400 * DAY)
    assert next(asked) <= ENUMERATED + 5, "of more than a million slots"
    assert last + 400 * DAY - every < found <= last + 400 * DAY
    assert (found - near[0]) % every == dt.timedelta(0)


# --- solar, clocked, and schedules of the project's own ---------------------------------------------------------------


@pytest.mark.parametrize("event", ["sunrise", "solar_noon", "dusk_civil"])
@pytest.mark.parametrize(("lat", "lon"), [(51.5, -0.1), (-33.9, 151.2), (69.6, 18.9)])
def test_a_solar_event_is_one_slot_a_day_at_most_and_none_in_between(event, lat, lon):
    table = timetable(solar(event, lat, lon, app=app("UTC")))
    events = list(walk(table, utc("2026-01-01"), utc("2026-06-30")))
    assert events
    assert all(b - a > 20 * HOUR for a, b in pairwise(events))
    theirs = [at for at in solar_events(event, lat, lon, utc("2026-01-01"), utc("2026-06-30"))]
    assert [round(at.timestamp()) for at in events] == [round(at.timestamp()) for at in theirs]


def solar_events(event: str, lat: float, lon: float, begin: dt.datetime, until: dt.datetime) -> Iterator[dt.datetime]:
    """Celery's own answer, asked again half an hour after every event."""
    now, asked = begin, solar(event, lat, lon, app=app("UTC"))
    asked.nowfun = lambda: now
    while (found := now + asked.remaining_estimate(now)) <= until:
        yield found
        now = found + HOUR / 2


def test_a_solar_event_of_the_coming_hour_is_not_passed_over():
    table = timetable(solar("sunset", 51.5, -0.1, app=app("UTC")))
    event = table.next_after(utc("2026-06-01"))
    assert abs(table.next_after(event - HOUR / 2) - event) < SECOND
    assert table.next_after(event) - event > 23 * HOUR


def test_a_clocked_entry_has_one_slot_ever():
    at = utc("2026-05-05T05:00")
    table = timetable(clocked(at))
    assert list(walk(table, at - 400 * DAY, at + 400 * DAY)) == [at]
    assert table.next_after(at) is None
    assert table.latest(at - SECOND, at + DAY) == at
    assert table.latest(at, at + DAY) is None


class EveryThirdMinute(schedules.BaseSchedule):
    """A schedule that no library knows."""

    def remaining_estimate(self, last_run_at: dt.datetime) -> dt.timedelta:
        minute = last_run_at.replace(second=0, microsecond=0)
        return minute + (3 - minute.minute % 3) * MINUTE - self.now()

    def __repr__(self) -> str:
        return "<every third minute>"


def test_a_schedule_of_the_projects_own_is_asked_by_its_own_api():
    table = timetable(EveryThirdMinute(app=app("UTC")))
    begin = utc("2026-05-05T05:01")
    assert [at.minute for at in walk(table, begin, begin + 10 * MINUTE)] == [3, 6, 9]
    assert table.latest(begin, begin + 10 * MINUTE) == utc("2026-05-05T05:09")
    assert fingerprint(EveryThirdMinute()).endswith("EveryThirdMinute <every third minute>")


def test_asking_leaves_the_schedule_as_it_was():
    asked = solar("sunrise", 51.5, 0, app=app("UTC"))
    timetable(asked).next_after(utc("2026-05-05"))
    assert asked.nowfun is None
