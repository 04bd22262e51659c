"""A scheduler of the project's own, and the class to be made of it, under the lease."""

import inspect
from dataclasses import dataclass
from pathlib import Path

from celery.beat import Scheduler

from cutover.schedules import project

_TEXT = '''"""{name} under the lease: what it overrides is as it was."""

from cutover.schedulers import {ours}

from {module} import {name}


class {leased}({name}, {ours}):
    pass
'''


def class_of(named: str) -> type | None:
    """The scheduler of that name, found as celery finds it; None where it cannot be imported."""
    try:
        found = project.scheduler_class(named)
    except Exception:  # whatever the project's own module raises; `check` says what
        return None
    return found if isinstance(found, type) else None


def is_leased(kind: type | None) -> bool:
    """Whether it is one of ours, or derives from one."""
    return kind is not None and any(
        (one.__module__, one.__qualname__) == ("cutover.beats.scheduler", "Leased") for one in kind.__mro__
    )


def sends_rows(kind: type) -> bool:
    """Whether it is, or derives from, django-celery-beat's scheduler."""
    return any(
        (one.__module__, one.__qualname__) == ("django_celery_beat.schedulers", "DatabaseScheduler")
        for one in kind.__mro__
    )


@dataclass(frozen=True, slots=True)
class OwnScheduler:
    """A class without the lease whose source is the project's; ``file`` is that source."""

    kind: type
    file: Path

    @property
    def path(self) -> str:
        """As celery spells it."""
        return f"{self.kind.__module__}:{self.kind.__qualname__}"

    @property
    def sends_rows(self) -> bool:
        """Whether it sends django-celery-beat's rows."""
        return sends_rows(self.kind)

    @property
    def leased_file(self) -> Path:
        """The file to be made: beside the class's module, in its package."""
        return self.file.with_name("leased.py")

    @property
    def leased_path(self) -> str:
        """The class to be made, as celery spells it."""
        module = self.kind.__module__
        package = module if self.file.name == "__init__.py" else module.rpartition(".")[0]
        return f"{f'{package}.' if package else ''}leased:{self._leased}"

    @property
    def text(self) -> str:
        """What goes into the file."""
        ours = "DatabaseScheduler" if self.sends_rows else "CodeScheduler"
        return _TEXT.format(name=self.kind.__qualname__, ours=ours, module=self.kind.__module__, leased=self._leased)

    @property
    def _leased(self) -> str:
        return f"Leased{self.kind.__qualname__}"


def of(kind: type | None, root: Path) -> OwnScheduler | None:
    """The project's own scheduler, where ``kind`` is one: its source is below ``root`` and no installed package."""
    if kind is None or not issubclass(kind, Scheduler) or is_leased(kind) or "." in kind.__qualname__:
        return None
    try:
        file = Path(inspect.getsourcefile(kind) or "").resolve()
    except TypeError:
        return None
    is_here = file.is_relative_to(root.resolve()) and not {"site-packages", "dist-packages"} & {*file.parts}
    return OwnScheduler(kind, file) if is_here else None
