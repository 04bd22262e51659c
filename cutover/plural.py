"""Numbers in words: ``1 entry is``, ``2 entries are``; wherever a person reads how many there are of something."""


def counted(count: int, one: str, more: str = "") -> str:
    """``count`` and what is counted: ``one`` of one, else ``more``; without that the plural of the noun ``one``.

    What hangs on the number besides, such as a verb, stands in both.
    """
    if count == 1:
        return f"1 {one}"
    return f"{count:,} {more or (f'{one[:-1]}ies' if one.endswith('y') else f'{one}s')}"
