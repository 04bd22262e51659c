"""As much of an entry's name as a drawing has room for."""

from unicodedata import combining, east_asian_width


def shortened(name: str, room: int) -> str:
    """The beginning of a name in ``room`` letters, where wide ones count twice and combining ones not at all. Pure."""
    for number, letter in enumerate(name):
        room -= 0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1
        if room < 0:
            return f"{name[:number].rstrip()}\N{HORIZONTAL ELLIPSIS}"
    return name
