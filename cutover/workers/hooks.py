"""Pure: whether what overrides a hook of a class still reaches it.

A hook such as ``Task.before_start`` is overridden in a subclass, in a mixin before the class, by an option of the
task's decorator, by ``task_annotations``, or on the task itself. An override that does not call the hook replaces it,
and nothing says so. Its code is read, never run: a call that a condition skips is NOT seen.
"""

from collections.abc import Iterator
from functools import partial, partialmethod
from types import CodeType, FunctionType, MethodType
from typing import Any


def overrides(task: object, base: type, name: str) -> Iterator[tuple[str, Any]]:
    """Whatever goes before ``base``'s own ``name`` when ``task`` is asked for it: where it stands, and what it is."""
    if name in vars(task):
        yield f"{name}, set on the task itself,", vars(task)[name]
    for kind in type(task).__mro__:
        if kind is base:
            return
        if name in vars(kind):
            yield _place(kind, name), vars(kind)[name]


def lost(task: object, base: type, name: str) -> str:
    """Why ``base``'s hook ``name`` does not run for ``task``, or cannot be seen to; empty when it runs."""
    names = frozenset(kind.__name__ for kind in type(task).__mro__ if issubclass(kind, base))
    for place, found in overrides(task, base, name):
        reaches = _Reading(base, name, names).reaches(found)
        if reaches is None:
            return f"whether {place} calls super().{name}() cannot be seen"
        if not reaches:
            return f"{place} does not call super().{name}()"
    return ""


def _place(kind: type, name: str) -> str:
    if "_decorated" not in vars(kind):  # celery's mark of a class that a decorator made
        return f"{kind.__module__}.{kind.__qualname__}.{name}"
    found = vars(kind)[name]
    defined = getattr(found, "func", found)
    said = f"{getattr(defined, '__module__', '')}.{getattr(defined, '__qualname__', type(defined).__qualname__)}"
    return f"{said}, the task's option {name},"


class _Reading:
    """Reads overrides of one hook; ``names`` are those of the classes that have it, or inherit it."""

    def __init__(self, base: type, hook: str, names: frozenset[str]) -> None:
        self._base = base
        self._hook = hook
        self._names = names
        self._read: set[int] = set()

    def reaches(self, found: Any) -> bool | None:
        """Whether ``found`` calls the hook; None where there is no code to see it by."""
        if found is vars(self._base)[self._hook]:
            return True
        if isinstance(found, staticmethod | classmethod | MethodType):
            return self.reaches(found.__func__)
        if isinstance(found, partial | partialmethod):
            return self._holds((*found.args, *found.keywords.values())) or self.reaches(found.func)
        if isinstance(found, FunctionType):
            return self._calls(found)
        if callable(wrapped := getattr(found, "__wrapped__", None)):
            return self.reaches(wrapped)  # a proxy, such as those of wrapt
        return None if callable(found) else False

    def _calls(self, function: FunctionType) -> bool | None:
        if id(function) in self._read:
            return False
        self._read.add(id(function))
        named = set(_named(function.__code__))
        if self._hook in named and "super" in named:
            return None if self._base.__name__ in named else True  # `super(GuardedTask, self)` passes over it
        if self._hook in named and self._names_a_class(function, named):
            return True
        defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
        if self._holds((*_closure(function), *defaults)):
            return True
        is_indirect = "getattr" in named and ("super" in named or self._names_a_class(function, named))
        wraps = callable(wrapped := getattr(function, "__wrapped__", None)) and self.reaches(wrapped)
        return None if is_indirect or wraps else False

    def _names_a_class(self, function: FunctionType, named: set[str]) -> bool:
        """Whether the code names a class that has the hook; celery's ``Task`` has not, though the app's base is one."""
        base = self._base.__name__
        if base in named and base not in function.__globals__:
            return True  # by its module, or imported within
        given = (*(function.__globals__.get(name) for name in named & self._names), *_closure(function))
        return any(isinstance(part, type) and issubclass(part, self._base) for part in given)

    def _holds(self, parts: tuple[Any, ...]) -> bool:
        """Whether one of these, which the code is given, calls the hook: a decorator's wrapper holds what it wraps."""
        return any(self.reaches(part) is True for part in parts)


def _named(code: CodeType) -> Iterator[str]:
    """Every global, attribute and enclosing variable that the code and the functions within it name."""
    yield from (*code.co_names, *code.co_freevars)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _named(constant)


def _closure(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # of a name that is not bound yet
            continue
