"""What is not of our making, put into words: errors, schedules and values of a project. They may fail to say it.

Whoever prints, logs or digests one of them asks here: no ``__str__`` or ``__repr__`` ends a beat, a page or a command.
"""


def text_of(thing: object) -> str:
    """The text of an error, a schedule or a name, as ``str`` gives it; that of its type where it has none to give."""
    try:
        return str(thing)
    except Exception:
        return f"{type(thing).__qualname__}, whose text cannot be read"


def shown(thing: object) -> str:
    """A value as ``repr`` gives it; where that fails as Python shows an object that has no text of its own."""
    try:
        return repr(thing)
    except Exception:
        return object.__repr__(thing)
