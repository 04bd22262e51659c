"""Pings: any URL by the convention of healthchecks.io: ``URL/start``, ``URL``, ``URL/fail``; ``rid`` is the slot's."""

import urllib.error
import urllib.request
from http import HTTPStatus
from http.client import HTTPException
from typing import Final
from urllib.parse import urlsplit

import cutover
from cutover import clock
from cutover.observe.check_ins.news import CheckIn, Word
from cutover.phases.wording import one_line

TIMEOUT_S: Final = 5.0
"""How long one answer is waited for."""
WAITS_S: Final = (1.0, 4.0, 15.0)
"""After how long a ping that got no answer is tried again; once for all, where the last one has got none either."""
_ENDINGS: Final = {Word.START: "/start", Word.SUCCESS: "", Word.FAIL: "/fail", Word.MISSED: "/fail"}
_ONCE_MORE: Final = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
_away: set[str] = set()
"""The servers that gave the last end no answer: each further one would be waited for, and all that follows it."""


def ping(url: str, check_in: CheckIn) -> None:
    """Send it. Raises OSError, which names no URL, where that is given up."""
    server = urlsplit(url).netloc
    waits_s = () if server in _away or check_in.word is Word.START else WAITS_S
    for wait_s in (*waits_s, None):
        try:
            _send(url_of(url, check_in), said(check_in))
        except (OSError, HTTPException, ValueError) as exc:
            if isinstance(exc, urllib.error.HTTPError):
                exc.close()
            if wait_s is None or not _may_help(exc):
                if _may_help(exc) and check_in.word is not Word.START:
                    _away.add(server)
                raise OSError(f"not taken: {_without_url(exc)}") from exc
            clock.sleep(wait_s)
        else:
            _away.discard(server)
            return


def url_of(url: str, check_in: CheckIn) -> str:
    """Where this word about this slot goes. Pure."""
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, f"rid={check_in.key}")))
    path = parts.path.rstrip("/") + _ENDINGS[check_in.word]
    return parts._replace(path=path or "/", query=query, fragment="").geturl()


def said(check_in: CheckIn) -> str:
    """What stands in the ping, for people. Pure."""
    took = "" if check_in.took is None else f" after {check_in.took.total_seconds():.3f} s"
    reason = f": {check_in.reason}" if check_in.reason else ""
    return f"{check_in.slot.entry}, due {check_in.slot.due_at.isoformat()}: {check_in.word.value}{took}{reason}"


def _send(url: str, text: str) -> None:
    headers = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": f"django-cutover/{cutover.__version__}"}
    asked = urllib.request.Request(url, text.encode(), headers)  # noqa: S310 - http(s) alone, by the settings' check
    with urllib.request.urlopen(asked, timeout=TIMEOUT_S):  # noqa: S310 - as above
        pass


def _without_url(exc: Exception) -> str:
    """What is wrong, in one line. What urllib says of a redirect, or of a URL, quotes what may hold a secret."""
    if isinstance(exc, urllib.error.HTTPError):
        redirect = ", a redirect that leads nowhere" if exc.code < HTTPStatus.BAD_REQUEST else ""
        return f"HTTP Error {exc.code}{redirect}"
    return type(exc).__name__ if isinstance(exc, HTTPException | ValueError) else one_line(exc)


def _may_help(exc: Exception) -> bool:
    """Whether to try again: the server was not reached, or has a problem of its own."""
    if isinstance(exc, urllib.error.HTTPError):
        return exc.code >= HTTPStatus.INTERNAL_SERVER_ERROR or exc.code in _ONCE_MORE
    return not isinstance(exc, ValueError)
