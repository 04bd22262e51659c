"""Generated schedules in forty time zones: what parity does not report is alike, as celery itself judges.

Fire times are asked of celery's own schedule objects, over the whole 400 days and on leap day; messages are published
in earnest and compared as the broker gets them.
"""

import datetime as dt
import random
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import BaseSchedule

from cutover.schedules.columns import CrontabValues
from cutover.schedules.convert import RowDraft, convert
from cutover.schedules.divergence import HORIZON
from cutover.schedules.fingerprint import fingerprint
from cutover.schedules.importer import serializer_of
from cutover.schedules.overlay import Overlay, Reader
from cutover.schedules.parity import Difference, differences
from cutover.schedules.rows import record
from cutover.schedules.values import restored
from cutover.types import EntryName
from tests.schedules import generated, oracle
from tests.schedules.generated import ZONES
from tests.unit.schedules.test_forms import as_row

NAME = EntryName("generated")
EACH, EACH_WHEN_LONG = 3, 250
"""Schedules in each zone; ``--long`` makes ten thousand of them."""
OF_THE_ROW = {"one_off", "start_time", "expires"}
UNSEEN = {
    *("option exchange", "option routing_key", "option priority", "option serializer"),
    *("option retry", "option retry_policy", "option delivery_mode"),
}
"""What celery is given and the broker may not see: the queue decides, it is the default, or how a message is sent."""


@pytest.mark.parametrize("zone", ZONES)
def test_what_parity_does_not_report_is_alike(zone: str, long: bool) -> None:
    assert len(ZONES) == 40
    chance = random.Random(zone)
    done = 0
    while done < (EACH_WHEN_LONG if long else EACH):
        done += compared(chance, zone)


def compared(chance: random.Random, zone: str) -> bool:
    """Whether a generated entry could be imported; then both sides were compared."""
    app = generated.project(zone)
    since = dt.datetime(2026, 6, 1, tzinfo=dt.UTC) + chance.uniform(0, 1_000) * oracle.DAY
    entry = ScheduleEntry(name=NAME, app=app, **generated.entry(chance, app))
    found = convert(entry, serializer_of(app, entry), {})
    if not isinstance(found, RowDraft):
        assert {refusal.field for refusal in found} <= {"args", "kwargs"}, found
        return False
    changed = generated.edited(chance, found)
    row = as_row(changed)
    kept = {
        NAME: Overlay(record(found.row), restored(changed.options), changed.relative, fingerprint(entry.schedule)),
    }
    reports = differences(app, {NAME: entry}, {NAME: row}, since, kept)
    assert changed is not found or reports == [] or celery_refuses(entry), reports
    sent = Reader(app, kept).entry(row)
    hold_fire_times(chance, zone, reports, since, (entry.schedule, sent.schedule), changed)
    hold_messages(app, reports, since, entry, sent)
    return True


def hold_fire_times(
    chance: random.Random,
    zone: str,
    reports: list[Difference],
    since: dt.datetime,
    schedules: tuple[BaseSchedule, BaseSchedule],
    changed: RowDraft,
) -> None:
    """Fire times are reported where celery's own differ, and what is reported is what celery says."""
    one, other = schedules
    zones = {zone, *(str(schedule.tz) for schedule in schedules)}
    if isinstance(changed.row.schedule, CrontabValues):
        zones.add(changed.row.schedule.timezone)
    leap_day = dt.datetime(2028 if since < dt.datetime(2028, 3, 1, tzinfo=dt.UTC) else 2032, 2, 29, tzinfo=dt.UTC)
    sampled = oracle.instants(chance, zones, since, HORIZON.days, leap_day)
    spans = [(since, since + HORIZON), (leap_day - oracle.DAY, leap_day + 2 * oracle.DAY)]
    apart = oracle.divergence(one, other, sampled, spans, one.app.timezone)
    reported = [difference for difference in reports if difference.field == "fire time"]
    assert reported or apart is None, (zone, schedules, since, apart)
    for difference in reported:
        fires = instant(difference.code), instant(difference.row)
        if None not in fires:
            assert any(alike(fires, found) for found in first_divergences(schedules, since, min(fires))), (
                str(difference),
                schedules,
                since,
            )


def first_divergences(
    schedules: tuple[BaseSchedule, BaseSchedule], since: dt.datetime, reported: dt.datetime
) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    """The first fires that differ, as celery counts them from the start, and from shortly before what is reported."""
    for base in (reported - 2 * oracle.HOUR, since, reported - 26 * oracle.HOUR):
        reached = base.astimezone(dt.UTC)
        for _ in range(2_000):
            one, other = (oracle.next_fire(schedule, reached, schedule.app.timezone) for schedule in schedules)
            if one != other:
                yield one, other
                break
            reached = one


def alike(one: tuple[dt.datetime, dt.datetime], other: tuple[dt.datetime, dt.datetime]) -> bool:
    """Whether two pairs are the same to the second: of a solar event each search tells another microsecond."""
    return all(abs(a - b) < oracle.SECOND for a, b in zip(one, other, strict=True))


def hold_messages(
    app: Celery, reports: list[Difference], since: dt.datetime, entry: ScheduleEntry, sent: ScheduleEntry
) -> None:
    """A difference in messages is reported where the broker gets two, and only there."""
    entry.options = generated.as_celery_is_to_send(entry.options)
    wire = oracle.Wire(app, since)
    in_code, in_row = wire.send(entry), wire.send(sent)
    reported = {difference.field for difference in reports} - OF_THE_ROW - {"fire time"}
    if isinstance(in_code, str):
        assert reported == {"message"}, (in_code, reports)
    else:
        assert reported or in_code == in_row, apart_in(in_code, in_row)
        assert not reported - UNSEEN or in_code != in_row, (reports, in_code)


def celery_refuses(entry: ScheduleEntry) -> bool:
    """Whether the generator made an entry that celery cannot send: the header to be stamped is not there."""
    return "stamped_headers" in entry.options


def instant(spelt: str) -> dt.datetime | None:
    """What a difference says, once for each zone; None for never."""
    if spelt == "never":
        return None
    [one] = {dt.datetime.fromisoformat(part.rpartition(" ")[0]) for part in spelt.split(" = ")}
    return one


def apart_in(one: dict[str, Any], other: dict[str, Any] | str) -> Any:
    if isinstance(other, str):
        return other
    return {key: (one.get(key), other.get(key)) for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
