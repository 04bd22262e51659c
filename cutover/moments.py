"""How an instant is put into words: the same wherever a person reads one."""

import datetime as dt

from django.utils.timezone import get_current_timezone


def instant(at: dt.datetime, zone: dt.tzinfo | None = None) -> str:
    """An instant with its time zone, fractions of a second where it has some.

    The zone is the site's own unless said, or the one that the project has activated for whoever asks.
    """
    local = at.astimezone(zone or get_current_timezone())
    return f"{local.replace(tzinfo=None).isoformat(sep=' ')} {local:%Z}"


def to_the_second(at: dt.datetime, zone: dt.tzinfo | None = None) -> str:
    """As ``instant``, of one whose fractions of a second nobody needs: when something is done, not a slot's."""
    return instant(at.replace(microsecond=0), zone)
