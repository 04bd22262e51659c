"""The arithmetic of the benchmarks: medians, ratios, goals, tables, bars and the page."""

import datetime as dt
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from benchmarks import page, plot, zones
from benchmarks.__main__ import PARTS
from benchmarks.figures import Goal, Row, as_markdown, as_text, percentile, ratio, shown

OURS = Row("burst", "cutover", (900.0, 1_500.0, 1_200.0), "/s", Goal(1_000, is_least=True))
THEIRS = Row("burst", "RedBeat", (600.0,), "/s")
NEVER = Row("pause", "others", (), "ms", note="more than 120 s")


@pytest.mark.parametrize(
    ("values", "goal", "reached"),
    [
        ((10.0, 20.0, 90.0), Goal(20), True),
        ((10.0, 21.0, 90.0), Goal(20), False),
        ((10.0, 20.0, 90.0), Goal(20, worst=True), False),
        ((1.0, 2.0, 3.0), Goal(2, is_least=True), True),
        ((1.0, 2.0, 3.0), Goal(2, is_least=True, worst=True), False),
        ((), Goal(20), False),
        ((1.0,), None, None),
    ],
)
def test_a_goal_is_the_medians_or_the_worst_ones(
    values: tuple[float, ...], goal: Goal | None, reached: bool | None
) -> None:
    assert Row("what", "of", values, "ms", goal).is_reached is reached


def test_a_ratio_is_of_medians_and_has_no_value_where_one_has_none() -> None:
    assert ratio(OURS, THEIRS, Goal(2.0, is_least=True)).values == (2.0,)
    assert ratio(OURS, THEIRS).what == "burst, against RedBeat"
    assert ratio(OURS, NEVER, Goal(1)).values == ()
    assert ratio(OURS, NEVER, Goal(1)).is_reached is False


def test_a_percentile_is_a_value_that_there_is() -> None:
    assert percentile(range(100), 0.5) == 50
    assert percentile(range(100), 0.99) == 99
    assert percentile([3.0], 0.99) == 3.0


def test_numbers_have_three_digits() -> None:
    assert [shown(each) for each in (1_234.5, 0.12345, 20.0, 99.95)] == ["1,234", "0.123", "20", "100"]


def test_a_table_says_median_spread_goal_and_mark() -> None:
    assert as_markdown([OURS, NEVER]).splitlines()[2:] == [
        "| burst | cutover | 1,200 /s | 900 to 1,500 | at least 1,000 | reached |  |",
        "| pause | others | - |  |  |  | more than 120 s |",
    ]
    assert "1,200 /s  900 to 1,500  at least 1,000  reached" in as_text([OURS])


def test_bars_are_one_for_each_that_has_a_value() -> None:
    drawing = plot.bars("a < b", [OURS, THEIRS, NEVER])
    assert len(ET.fromstring(drawing).findall("{*}rect")) == 2


def test_the_page_gets_the_figures_between_its_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, file in (("PAGE", "page.md"), ("PLOTS", "plots"), ("RESULTS", "results.json")):
        monkeypatch.setattr(page, name, tmp_path / file)
    page.PAGE.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    page.write({"burst": [OURS, THEIRS]}, tmp_path, full=True)
    text = page.PAGE.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| burst | cutover | 1,200 /s |" in text and "REDBEAT_LOCK_TIMEOUT=5" in text
    assert json.loads(page.RESULTS.read_text())["burst"]["rows"][0]["reached"] is True
    assert (page.PLOTS / "burst.svg").exists()


def test_what_was_not_measured_this_time_stays_with_its_own_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, file in (("PAGE", "page.md"), ("PLOTS", "plots"), ("RESULTS", "results.json")):
        monkeypatch.setattr(page, name, tmp_path / file)
    page.PAGE.write_text(f"{page.BEGIN}\n{page.END}")
    page.write({"burst": [OURS, THEIRS], "kill": [NEVER]}, tmp_path, full=True)
    before = json.loads(page.RESULTS.read_text())
    before["burst"] |= {"at": "2026-01-02", "versions": before["burst"]["versions"] | {"celery": "5.4.0"}}
    page.RESULTS.write_text(json.dumps(before))
    page.write({"kill": [OURS]}, tmp_path, full=False)
    _, burst, kill = page.PAGE.read_text().split("\n## ")
    assert "Measured on 2026-01-02" in burst and "in the long run, at most 3 times each; with celery 5.4.0." in burst
    assert "| burst | cutover | 1,200 /s | 900 to 1,500 | at least 1,000 | reached |  |" in burst
    assert "in the short run, at most 3 times each." in kill


def test_the_documents_name_every_part() -> None:
    text = page.PAGE.read_text() if page.PAGE.exists() else ""
    assert re.findall(r"^\| `([\w-]+)` \|", text.partition("## How")[0], re.MULTILINE) == list(PARTS)


def test_a_zones_minute_begins_at_its_second(tmp_path: Path) -> None:
    zones.write(tmp_path)
    instant = dt.datetime(2026, 7, 1, 12, 34, 20, tzinfo=dt.UTC)
    with (tmp_path / zones.of(instant)).open("rb") as file:
        zone = ZoneInfo.from_file(file)
    assert instant.astimezone(zone).second == 0
    assert instant.astimezone(zone).minute == 35
