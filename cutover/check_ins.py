"""Where an entry's slots are told, by the settings: Sentry Crons, and any URL that takes pings."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from django.utils.text import slugify

from cutover.errors import ConfigurationError

WHERE: Final = ("PING_URL", "SENTRY")
SLUG: Final = "{slug}"
"""In a ping URL, what the entry's slug takes the place of."""
SLUG_LENGTH: Final = 50
"""The longest that Sentry takes."""
OF_MONITOR: Final = {
    "checkin_margin": int,
    "max_runtime": int,
    "failure_issue_threshold": int,
    "recovery_threshold": int,
    "owner": str,
}
"""What may be said of a monitor besides its schedule, as Sentry calls it."""


@dataclass(frozen=True, slots=True)
class CheckIns:
    """Those of one entry. ``ping_url``: empty for none; ``sentry``: what is said of the monitor, None for none."""

    slug: str
    ping_url: str = ""
    sentry: Mapping[str, int | str] | None = None

    def __bool__(self) -> bool:
        return bool(self.ping_url) or self.sentry is not None


def of_entry(entry: str, settings: Mapping[str, Any]) -> CheckIns:
    """Those of an entry with these settings. Pure."""
    slug = slug_of(entry)
    return CheckIns(slug, (settings.get("PING_URL") or "").replace(SLUG, slug), settings.get("SENTRY"))


def slug_of(entry: str) -> str:
    """The entry's name as services take it: ``a-z``, ``0-9``, ``-`` and ``_``, at most 50 of them; never empty.

    A name that does not fit ends in eight digits of its own, so that two such names are told apart.
    """
    slug = slugify(entry)
    if slug and len(slug) <= SLUG_LENGTH and entry.isascii():
        return slug
    # A name of the code may be no text, which whoever sends it says: that is no reason for `check` to end here.
    digest = hashlib.sha256(entry.encode(errors="backslashreplace")).hexdigest()[:8]
    return f"{slug[: SLUG_LENGTH - 9].strip('-_')}-{digest}".lstrip("-")


def ping_url(value: Any) -> str | None:
    """The setting ``PING_URL``; None where it is turned off.

    Raises ConfigurationError, in which no URL stands: it may hold a secret.
    """
    if value is None:
        return None
    said = "CUTOVER['CHECK_INS']['PING_URL'] must be an http:// or https:// URL"
    if not isinstance(value, str):
        raise ConfigurationError(f"{said}, not {type(value).__name__}.")
    try:
        parts = urlsplit(value.strip())
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and not re.search(r"\s", value.strip())
        _ = parts.port
    except ValueError:
        is_url = False
    if not is_url:
        raise ConfigurationError(f"{said}; what it is, is not shown here, since it may hold a secret.")
    if unknown := set(re.findall(r"\{.*?\}", value)) - {SLUG}:
        raise ConfigurationError(
            f"CUTOVER['CHECK_INS']['PING_URL'] has {', '.join(sorted(unknown))}; it may have {SLUG} alone."
        )
    return value.strip()
