"""Every form of entry becomes what the table in docs/schedules.md says, and sends the same message from its row."""

import re
from pathlib import Path

import pytest
from celery import Celery
from celery.beat import ScheduleEntry
from django_celery_beat.models import PeriodicTask

from cutover import clock
from cutover.schedules import columns
from cutover.schedules.convert import RowDraft, convert
from cutover.schedules.fingerprint import fingerprint
from cutover.schedules.importer import serializer_of
from cutover.schedules.overlay import Overlay
from cutover.schedules.parity import differences
from cutover.schedules.rows import record
from cutover.schedules.values import restored
from cutover.types import EntryName
from demo.processes import ROOT
from tests.schedules.forms import FORMS, Form

DOCUMENT = Path(ROOT / "docs" / "schedules.md")
ROW = re.compile(r"^\| (?P<form>[^|]+) \| (?P<becomes>row and overlay|row|refused)\b(?P<more>[^|]*) \|", re.MULTILINE)
NAME = EntryName("form")


def becomes(form: Form) -> str:
    if form.refused:
        return "refused"
    return "row and overlay" if form.overlay else "row"


def test_the_table_of_the_docs_has_every_form_and_says_what_becomes_of_it() -> None:
    table = {match["form"].strip().replace("`", ""): match["becomes"] for match in ROW.finditer(DOCUMENT.read_text())}
    assert table == {name: becomes(form) for name, form in FORMS.items()}


@pytest.fixture(scope="module")
def app() -> Celery:
    app = Celery("forms", set_as_current=False)
    app.conf.timezone = "UTC"
    return app


@pytest.mark.parametrize("name", FORMS)
def test_a_form_becomes_what_it_must(app: Celery, name: str) -> None:
    form = FORMS[name]
    entry = ScheduleEntry(name=NAME, task="a.task", app=app, **form.entry)
    found = convert(entry, serializer_of(app, entry), {})
    if form.refused:
        assert isinstance(found, list)
        assert {refusal.field for refusal in found} == {form.refused}
        assert all(refusal.reason and refusal.remedy for refusal in found)
        return
    assert isinstance(found, RowDraft), found
    assert {column: getattr(found.row, column) for column in form.row} == form.row
    assert {*found.options, *(["relative"] if found.relative else [])} == set(form.overlay)
    assert differences(app, {NAME: entry}, {NAME: as_row(found)}, clock.now(), {NAME: as_overlay(found, entry)}) == []


def as_row(found: RowDraft) -> PeriodicTask:
    """The row as the import writes it, unsaved."""
    values = found.row
    column, _ = columns.MODELS[type(values.schedule)]
    plain = {name: getattr(values, name) for name in ("task", "args", "kwargs", "headers", "queue", "exchange")}
    more = {name: getattr(values, name) for name in ("routing_key", "priority", "expire_seconds", "one_off")}
    now = clock.now()
    return PeriodicTask(
        name=values.name, enabled=False, date_changed=now, **plain, **more, **{column: columns.row_of(values.schedule)}
    )


def as_overlay(found: RowDraft, entry: ScheduleEntry) -> Overlay:
    """The overlay on it."""
    return Overlay(record(found.row), restored(found.options), found.relative, fingerprint(entry.schedule))
