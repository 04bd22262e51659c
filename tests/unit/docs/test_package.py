"""What the package says of itself is what the tests run on, and its version stands in one place."""

import ast
import re
import subprocess
import sys
import tomllib
from typing import Any

import cutover
from cutover.web import LEAST_GUNICORN
from demo.processes import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CLASSIFIERS = [tuple(classifier.split(" :: ")) for classifier in PROJECT["classifiers"]]


def versions(*prefix: str) -> list[str]:
    """What the classifiers name after ``prefix``, where that is a version."""
    named = (rest for *before, rest in CLASSIFIERS if tuple(before) == prefix)
    return [name for name in named if re.fullmatch(r"\d+\.\d+", name)]


def in_noxfile() -> dict[str, Any]:
    """Its constants, and what its sessions are parametrized by; nox itself is not installed everywhere."""
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    found = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    [django] = [call.args[1] for call in calls if call.args and ast.unparse(call.args[0]) == "'django'"]
    return {"python": ast.literal_eval(found["PYTHONS"]), "django": ast.literal_eval(django)}


def test_the_classifiers_name_the_versions_that_are_tested() -> None:
    assert versions("Programming Language", "Python") == in_noxfile()["python"]
    assert versions("Framework", "Django") == in_noxfile()["django"]


def test_the_version_stands_in_one_place_and_begins_the_changelog() -> None:
    assert "version" in PROJECT["dynamic"]
    [latest, *_] = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert latest == cutover.__version__


def test_the_page_of_support_names_every_range_that_the_package_declares() -> None:
    page = (ROOT / "docs" / "support.md").read_text()
    for requirement in PROJECT["dependencies"]:
        name = re.split(r"[\[<>=]", requirement)[0]
        [lowest] = re.findall(r">=([\d.]+)", requirement)
        assert re.search(rf"^\| {name.replace('redis', 'redis(?:-py)?')} \| {re.escape(lowest)} ", page, re.MULTILINE)


def test_the_readmes_first_block_of_a_project_pins_what_pip_would_move() -> None:
    text = (ROOT / "README.md").read_text().partition("## In your project")[2]
    [first, *_] = re.findall(r"```bash\n(.*?)\n```", text, re.DOTALL)
    assert first.startswith("pip install django-cutover ")
    assert '"Django==$(python -m django --version)"' in first, "django-redis 7 would lift a Django of 5.1"
    assert f'"gunicorn>={".".join(map(str, LEAST_GUNICORN))}"' in first


def test_importing_the_package_imports_neither_django_nor_celery() -> None:
    """Every module of a project may say ``from cutover import current_slot``."""
    asked = "import cutover, sys; print([name for name in ('django', 'celery') if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
