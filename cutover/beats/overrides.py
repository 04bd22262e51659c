"""What a project's subclass of our schedulers cannot override, refused by name when its beat starts.

Every other override is honoured. A slot is one message, and its instant is known before it is claimed: so a scheduler
can neither send several for one entry, nor say only when it is asked whether an entry is due.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any, Final

from celery.beat import Scheduler
from django_celery_beat.models import PeriodicTask

from cutover.errors import ConfigurationError

_STOCK: Final = ("celery.beat", "django_celery_beat.schedulers")
"""Modules whose classes are not the project's, whatever has been wrapped around their methods."""
_CALLS: Final = ("apply_entry", "apply_async")
_LOOPS: Final = (ast.For, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class OverrideRefused(ConfigurationError):
    """The project's scheduler overrides what cannot be: which class, what, why, and what to do."""

    def __init__(self, kind: type, why: str) -> None:
        super().__init__(f"{kind.__module__}.{kind.__qualname__} {why}")


class TooManyMessages(OverrideRefused):
    """The project's scheduler sends more than one message for a slot."""

    def __init__(self, kind: type) -> None:
        remedy = "Make an entry for each, or one entry whose task calls the others."
        super().__init__(
            kind,
            "sends several messages for one entry, but a slot has one: workers would drop the others. " + remedy,
        )


def require(kind: type[Scheduler]) -> None:
    """Raises OverrideRefused for a scheduler that overrides what cannot be honoured."""
    require_one_message(kind)
    require_no_is_due(kind)
    require_rows(kind)


def require_one_message(kind: type[Scheduler]) -> None:
    """Raises TooManyMessages for a scheduler whose own code sends in a loop over something, such as tenants.

    What cannot be read so is found out when it happens, before the second message leaves.
    """
    overrides = [vars(owner)[call] for owner in _own(kind) for call in _CALLS if call in vars(owner)]
    if any(_sends_each(loop) for override in overrides for loop in _loops(override)):
        raise TooManyMessages(kind)


def require_no_is_due(kind: type[Scheduler]) -> None:
    """Raises OverrideRefused where the scheduler, or its class of entries, decides by itself what is due."""
    for owner in (*_own(kind), *_own(kind.Entry)):
        if "is_due" in vars(owner):
            remedy = "Write it as a schedule, or let the task decide."
            raise OverrideRefused(owner, f"has its own is_due, but what is to be claimed is known beforehand. {remedy}")


def require_rows(kind: type[Scheduler]) -> None:
    """Raises OverrideRefused where the scheduler has a model of another table than the rows'."""
    if not issubclass(getattr(kind, "Model", PeriodicTask), PeriodicTask):
        remedy = "Derive its model from PeriodicTask, or leave it out."
        raise OverrideRefused(kind, f"has a Model that is no PeriodicTask, whose rows the phases move. {remedy}")


def _own(kind: type) -> list[type]:
    """The project's own classes among those of ``kind``."""
    return [
        owner
        for owner in kind.__mro__
        if owner is not object and owner.__module__ not in _STOCK and not owner.__module__.startswith("cutover.")
    ]


def _loops(function: Any) -> Iterator[ast.AST]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # no source to be had
        return
    yield from (node for node in ast.walk(tree) if isinstance(node, _LOOPS))


def _sends_each(loop: ast.AST) -> bool:
    """Whether the loop sends in each round; one that a message ends tries to send one."""
    nodes = list(ast.walk(loop))
    ends = any(isinstance(node, ast.Return | ast.Break) for node in nodes)
    called = {node.func.attr for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}
    return not ends and not called.isdisjoint(_CALLS)
