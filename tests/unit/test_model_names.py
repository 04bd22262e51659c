"""How rows are called in the admin."""

import datetime as dt

from django.test import override_settings

from cutover import models

NOON = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)


@override_settings(TIME_ZONE="Europe/London")
def test_their_instants_are_said_as_everywhere() -> None:
    assert str(models.Slot(entry="daily", due_at=NOON, state="missed")) == "daily 2026-07-01 13:00:00 BST missed"
    assert str(models.Pause(entry="", paused_at=NOON)) == "everything paused at 2026-07-01 13:00:00 BST"
