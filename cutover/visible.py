"""Text as a terminal is to show it: what would move its cursor, colour it or turn its words round is written out.

Names of entries, reasons and errors are whatever somebody has typed or raised.
"""

import re
from typing import Final

_UNSEEN: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but the tab, ends of lines, what reverses a direction, and bytes that were no text."""


def visible(text: str) -> str:
    """The same in one line, where each such character stands as Python writes it: ``\\x1b``, ``\\n``, ``\\u202e``."""
    return text if text.isprintable() else _UNSEEN.sub(_written, text)


def _written(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
