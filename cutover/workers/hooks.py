"""Pure: whether what overrides a hook of a class still reaches it.

A hook such as ``Task.before_start`` is overridden in a subclass, in a mixin before the class, by an option of the
task's decorator, by ``task_annotations``, or on the task itself. An override that does not call the hook replaces it,
and nothing says so. The names in its code are read, it is never run: a call that a condition skips is NOT seen.
"""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial, partialmethod
from types import CodeType, FunctionType
from typing import Any


def overrides(task: object, base: type, name: str) -> Iterator[tuple[str, Any]]:
    """Whatever goes before ``base``'s own ``name`` when ``task`` is asked for it: where it stands, and what it is."""
    if name in vars(task):
        yield f"{name}, set on the task itself,", vars(task)[name]
    for kind in type(task).__mro__:
        if kind is base:
            return
        if name in vars(kind):
            found = vars(kind)[name]
            if "_decorated" in vars(kind):  # celery's mark of a class that a decorator made
                made = getattr(found, "func", found)
                place = f"{getattr(made, '__module__', '')}.{getattr(made, '__qualname__', type(made).__qualname__)}"
                yield f"{place}, the task's option {name},", found
            else:
                yield f"{kind.__module__}.{kind.__qualname__}.{name}", found


def lost(task: object, base: type, name: str) -> str:
    """Why ``base``'s hook ``name`` does not run for ``task``, or cannot be seen to; empty when it runs."""
    for place, found in overrides(task, base, name):
        reaches = _reaches(found, base, name)
        if reaches is None:
            return f"whether {place} calls super().{name}() cannot be seen"
        if not reaches:
            return f"{place} does not call super().{name}()"
    return ""


def _reaches(found: Any, base: type, hook: str) -> bool | None:
    """Whether an override, or anything that it passes its call on to, calls the hook; None if that cannot be seen."""
    pieces: list[Any] = [found]
    verdicts: list[bool | None] = []
    for piece in pieces:  # which grow meanwhile
        held = _held(piece)
        if piece is vars(base)[hook]:
            verdicts.append(True)
        elif isinstance(piece, FunctionType):
            verdicts.append(_calls(piece, held, base, hook))
        elif callable(piece) and not held and not isinstance(piece, type):
            verdicts.append(None)  # no code to see it by
        pieces += [part for part in held if all(part is not known for known in pieces)]
    return True if True in verdicts else None if None in verdicts else False


def _held(piece: Any) -> list[Any]:
    """What a decorator's wrapper closes over, what a partial is given, what a proxy or a method wraps."""
    if isinstance(piece, FunctionType):
        held = [*(piece.__defaults__ or ()), *(piece.__kwdefaults__ or {}).values()]
        for cell in piece.__closure__ or ():
            with suppress(ValueError):  # of a name that is not bound yet
                held.append(cell.cell_contents)
        return held
    if isinstance(piece, partial | partialmethod):
        return [piece.func, *piece.args, *piece.keywords.values()]
    wrapped = getattr(piece, "__func__", getattr(piece, "__wrapped__", None))
    return [] if wrapped is None else [wrapped]


def _calls(function: FunctionType, held: list[Any], base: type, hook: str) -> bool | None:
    """Whether the code names the hook along with ``super`` or a class that has it; celery's ``Task`` has it not."""
    named = set(_named(function.__code__))
    if hook in named and "super" in named:
        return None if base.__name__ in named else True  # `super(GuardedTask, self)` passes over it
    classes = [function.__globals__.get(name, base if name == base.__name__ else None) for name in named] + held
    if hook in named and any(isinstance(kind, type) and issubclass(kind, base) for kind in classes):
        return True
    return None if "getattr" in named or hasattr(function, "__wrapped__") else False


def _named(code: CodeType) -> Iterator[str]:
    """Every global, attribute and enclosing variable that the code and the functions within it name."""
    yield from (*code.co_names, *code.co_freevars)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _named(constant)
