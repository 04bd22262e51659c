"""Where the project's settings and its Celery app stand in its files: sources are read, the app alone is imported."""

import ast
import codecs
import importlib
import inspect
import os
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from celery import Celery
from celery.app.utils import find_app
from django.conf import settings

from cutover.errors import ConfigurationError

GUARD: Final = 'task_cls="cutover.guard.GuardedTask"'
_SETTINGS: Final = re.compile(r"^(?:INSTALLED_APPS\b|from \S+ import \*)", re.MULTILINE)
PASSED_BY: Final = {"node_modules", "site-packages", "__pycache__", "migrations"}


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """Where settings are added: the end of a module, or, where they are classes, the end of one."""

    file: Path
    module: ModuleType
    owner: type | None = None

    @property
    def root(self) -> Path:
        """The directory from which its module is imported."""
        return _root(self.file, self.module.__name__)

    def has(self, name: str) -> bool:
        """Whether ``name`` can be written there as it is."""
        if self.keeper:
            return False
        return name in (_written(self.owner) if self.owner else vars(self.module))

    def others(self) -> list[str]:
        """Settings beside these, such as a `production` beside `local`: modules, or classes that none derives from."""
        if self.owner:
            kinds = [kind for kind in _kinds(self.module) if kind.__module__ == self.module.__name__]
            lowest = [kind for kind in kinds if not any(kind in other.__mro__[1:] for other in kinds)]
            return [f"{kind.__module__}.{kind.__name__}" for kind in lowest if self.owner not in kind.__mro__]
        is_package = self.file.name == "__init__.py"
        package = self.module.__name__ if is_package else self.module.__name__.rpartition(".")[0]
        files = sorted(file for file in self.file.parent.glob("*.py") if file != self.file and file.stem != "__init__")
        return [f"{package}.{file.stem}".lstrip(".") for file in files if _SETTINGS.search(text(file))]

    @property
    def name(self) -> str:
        """As Python names it."""
        return f"{self.module.__name__}.{self.owner.__name__}" if self.owner else self.module.__name__

    @property
    def keeper(self) -> str:
        """The package that keeps the settings in Django's stead, and goes before this file; empty for Django."""
        package = type(settings).__module__.partition(".")[0]
        return "" if package == "django" else package

    def spelt(self, name: str) -> str:
        """``name`` as it is written there: of a class's parent by the parent's name; empty where it cannot be."""
        if self.has(name):
            return name
        for parent in self.owner.__mro__[1:] if self.owner else ():
            if getattr(self.module, parent.__name__, None) is parent and name in _written(parent):
                return f"{parent.__name__}.{name}"
        return ""


@dataclass(frozen=True, slots=True)
class AppSource:
    """A statement ``name = Celery(...)`` at the top level of a module."""

    path: str
    file: Path
    line: int
    statement: str
    guarded: str
    """The statement with the run guard; empty where it names a task class already."""


def settings_file() -> SettingsFile:
    """Where this process's settings come from. Raises ConfigurationError where that is no module."""
    module = sys.modules.get(os.environ.get("DJANGO_SETTINGS_MODULE") or settings.SETTINGS_MODULE or "")
    if module is None:
        raise ConfigurationError(
            "The settings come from settings.configure() and from no module, which `init` reads: add what README.md "
            "has under 'In your project', then type `check`."
        )
    file = Path(module.__file__ or "settings.py")
    classes = _kinds(module)
    chosen = os.environ.get("DJANGO_CONFIGURATION", "")
    if ("INSTALLED_APPS" in vars(module) and not chosen) or not classes:
        return SettingsFile(file, module)
    own = [kind for kind in classes if kind.__module__ == module.__name__] or classes
    # The one that was chosen, else the one that the others derive from.
    owner = next((kind for kind in own if kind.__name__ == chosen), min(own, key=lambda kind: len(kind.__mro__)))
    return SettingsFile(Path(inspect.getsourcefile(owner) or file), sys.modules[owner.__module__], owner)


def _kinds(module: ModuleType) -> list[type]:
    """The classes that a module has settings in."""
    return [kind for kind in vars(module).values() if isinstance(kind, type) and hasattr(kind, "INSTALLED_APPS")]


def _written(kind: type) -> set[str]:
    """The names that a class's own lines give a value, and no call: that may make what has its value only later.

    Not what the class has: one of django-configurations is given all that its parents have, as its own.
    """
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    except (OSError, TypeError, SyntaxError):
        return set()
    given = [node for node in getattr(body, "body", ()) if isinstance(node, ast.Assign | ast.AnnAssign)]
    plain = [node for node in given if node.value is not None and not isinstance(node.value, ast.Call)]
    return {name for node in plain for name in _targets(node)}


def _targets(node: ast.Assign | ast.AnnAssign) -> set[str]:
    """The names that an assignment gives a value."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _root(file: Path, module: str) -> Path:
    """The directory from which ``module``, which is in ``file``, is imported."""
    return file.parents[module.count(".") + (file.name == "__init__.py")]


def apps(near: Path, module: str) -> list[AppSource]:
    """The Celery apps of the sources nearest to the settings: in their folder, else in the next one around it.

    ``near`` is the settings' file, ``module`` its dotted name, which says from where modules are imported.
    """
    root = _root(near, module)
    for folder in (*(parent for parent in near.parents if root in parent.parents), root):
        if found := [source for file in _modules(folder) for source in _apps_in(file, root)]:
            return found
    return []


def text(file: Path) -> str:
    """What a file that is no Python says, whatever wrote it: UTF-8, or UTF-16 as Windows has it."""
    raw = file.read_bytes()
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return raw.decode("utf-16" if wide else "utf-8-sig", "replace")


def imported(path: str) -> Celery | None:
    """The app at a dotted path; None where there is none, whatever the import raises."""
    module, _, name = path.rpartition(".")
    try:
        app = getattr(importlib.import_module(module), name, None)
    except Exception:  # the project's own code; `check` says it in full
        return None
    return app if isinstance(app, Celery) else None


def typed(name: str) -> Celery | None:
    """The app that celery finds by what ``-A`` names; None where there is none, whatever the import raises."""
    try:
        app = find_app(name)
    except Exception:  # the project's own code; or it is found from another folder alone
        return None
    return app if isinstance(app, Celery) else None


def loaded(root: Path, app: Celery) -> str:
    """The dotted path of ``app`` in the module below ``root``, imported already, that assigns it; empty for none.

    So one is found that a function of the project's makes: the sources alone show no ``name = Celery(...)``.
    """
    for name, module in sorted(sys.modules.items()):
        file = Path(getattr(module, "__file__", None) or "").resolve()
        if file.suffix != ".py" or root.resolve() not in file.parents or PASSED_BY & {*file.parts}:
            continue
        named = [attribute for attribute, value in [*vars(module).items()] if value is app]
        if found := next((one for one in named if one in _assigned(file)), ""):
            return f"{name}.{found}"
    return ""


def _assigned(file: Path) -> set[str]:
    """The names that a module assigns at its top level, under whatever condition."""
    try:
        tree = ast.parse(file.read_text())
    except (OSError, ValueError, SyntaxError):
        return set()
    given = [node for node in _run(tree) if isinstance(node, ast.Assign | ast.AnnAssign)]
    return {name for node in given for name in _targets(node)}


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """The statements that importing a module runs: those under an ``if``, a ``try`` or a ``with``, too."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr):
            yield child
            yield from _run(child)


def _modules(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith(".") and path.name not in PASSED_BY:
            if not (path / "pyvenv.cfg").exists():
                yield from _modules(path)
        elif path.suffix == ".py":
            yield path


def _apps_in(file: Path, root: Path) -> Iterator[AppSource]:
    try:
        text = file.read_text()
        tree = ast.parse(text) if "Celery(" in text else ast.Module([], [])
    except (OSError, ValueError, SyntaxError):
        return
    names = file.relative_to(root).with_suffix("").parts
    module = ".".join(names[:-1] if names[-1] == "__init__" else names)
    for node in tree.body:
        target: Any = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        call = getattr(node, "value", None)
        if not isinstance(call, ast.Call) or not isinstance(target, ast.Name):
            continue
        if getattr(call.func, "id", getattr(call.func, "attr", "")) == "Celery":
            statement = ast.get_source_segment(text, node) or ""
            given = any(keyword.arg == "task_cls" for keyword in call.keywords)
            guarded = "" if given else _with_guard(statement)
            yield AppSource(f"{module}.{target.id}", file, node.lineno, statement, guarded)


def _with_guard(statement: str) -> str:
    """The call with one argument more, as it is written: its lines, quotes and comments stay."""
    call: Any = ast.parse(statement).body[0].value  # type: ignore[attr-defined]
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    if not given:
        return f"{statement.rstrip().removesuffix(')').rstrip()}{GUARD})"
    last = max(given, key=lambda node: (node.end_lineno, node.end_col_offset))
    lines = statement.splitlines(keepends=True)
    line = lines[last.end_lineno - 1].encode()
    upto = "".join(lines[: last.end_lineno - 1]) + line[: last.end_col_offset].decode()
    rest = statement[len(upto) :].strip().removesuffix(")").strip().removeprefix(",")
    if "\n" not in statement:
        return f"{upto}, {GUARD})"
    return f"{upto},{rest}\n    {GUARD},\n)"
