"""Rules and dashboard: valid by Prometheus' own tool, about metrics that exist; each alert fires where it should."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cutover.observe.conditions import Condition, Severity
from cutover.observe.metrics.catalogue import BUCKETS_S, METRICS, Kind
from demo.processes import ROOT

RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "cutover.json"
PAGE = ROOT / "docs" / "metrics.md"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: apt install prometheus")

ADDS = {Kind.HISTOGRAM: ("_bucket", "_sum", "_count"), Kind.COUNTER: ("",), Kind.GAUGE: ("",)}
SAMPLES = {f"{name}{end}": one for name, one in METRICS.items() for end in ADDS[one.kind]}

WELL = {
    'cutover_leader{job="beat", instance="a", side="code"}': "1x120",
    'cutover_leader{job="beat", instance="b", side="code"}': "0x120",
    'cutover_last_turn_timestamp_seconds{job="beat", instance="a"}': "0+15x120",
    'cutover_last_turn_timestamp_seconds{job="beat", instance="b"}': "0+15x120",
    'cutover_epoch{job="beat", instance="a"}': "7x120",
    'cutover_epoch{job="web", instance="w"}': "7x120",
    'cutover_led{job="web", side="code"}': "1x120",
    'cutover_up{job="web", server="database"}': "1x120",
    'cutover_up{job="web", server="redis"}': "1x120",
    'cutover_unmanaged_beats{job="web"}': "0x120",
    'cutover_slots_stuck{job="web", state="claimed"}': "0x120",
    'cutover_slot_delay_seconds_count{job="beat", instance="a"}': "0+5x120",
    'cutover_slot_delay_seconds_bucket{job="beat", instance="a", le="30.0"}': "0+5x120",
    'cutover_run_duration_seconds_count{job="worker", outcome="failed"}': "3x120",
    'cutover_entry_condition{job="web", entry="e", condition="retrying"}': "1x120",
}
"""Half an hour of a site, a sample every 15 seconds; only its last run was tried again."""
AT = "25m"
FAULTS: dict[str, list[tuple[dict[str, str | None], list[dict[str, str]]]]] = {
    "CutoverNoLeader": [
        ({'cutover_led{job="web", side="code"}': "1x90 0x30"}, [{}]),
        ({'cutover_leader{job="beat", instance="a", side="code"}': "1x90 0x30"}, [{}]),
    ],
    "CutoverLeaderStuck": [
        (
            {'cutover_last_turn_timestamp_seconds{job="beat", instance="a"}': "0+15x90 1350x30"},
            [{"job": "beat", "instance": "a"}],
        ),
    ],
    "CutoverLeadersFight": [
        ({'cutover_leader{job="beat", instance="b", side="code"}': "0x90 1x30"}, [{}]),
        ({'cutover_epoch{job="web", instance="w"}': "7x80 8+1x40"}, [{}]),
    ],
    "CutoverLatestSlotMissed": [
        ({'cutover_entry_condition{job="web", entry="e", condition="missed"}': "1x120"}, [{"entry": "e"}]),
    ],
    "CutoverSlotsMissed": [
        ({'cutover_slots_missed_total{job="beat", entry="e"}': "_x95 1x25"}, [{"entry": "e"}]),
        ({'cutover_slots_missed_total{job="beat", entry="e"}': "4x80 5x40"}, [{"entry": "e"}]),
        ({'cutover_slots_missed_total{job="beat", entry="e"}': "4x120"}, []),
    ],
    "CutoverUnmanagedBeat": [({'cutover_unmanaged_beats{job="web"}': "1x120"}, [{}])],
    "CutoverSlotsLate": [
        ({'cutover_slot_delay_seconds_bucket{job="beat", instance="a", le="30.0"}': "0+5x90 450x30"}, [{}]),
    ],
    "CutoverBacklog": [
        ({'cutover_slots_stuck{job="web", state="claimed"}': "3x120"}, [{"state": "claimed"}]),
    ],
    "CutoverEntryOverdue": [
        ({'cutover_entry_condition{job="web", entry="e", condition="overdue"}': "1x120"}, [{"entry": "e"}]),
        ({'cutover_entry_condition{job="web", entry="e", condition="not_run"}': "1x120"}, [{"entry": "e"}]),
    ],
    "CutoverRunsFailing": [
        ({'cutover_run_duration_seconds_count{job="worker", outcome="failed"}': "3x80 4x40"}, [{}]),
        ({'cutover_entry_condition{job="web", entry="e", condition="failing"}': "1x120"}, [{"entry": "e"}]),
    ],
    "CutoverServerAway": [({'cutover_up{job="web", server="redis"}': "0x120"}, [{"server": "redis"}])],
    "CutoverBeatMetricsAbsent": [
        ({f'cutover_leader{{job="beat", instance="{name}", side="code"}}': None for name in "ab"}, [{}]),
    ],
    "CutoverSiteMetricsAbsent": [
        ({f'cutover_up{{job="web", server="{name}"}}': None for name in ("database", "redis")}, [{}]),
    ],
}


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    return group["rules"]


def panels() -> list[dict[str, Any]]:
    return json.loads(DASHBOARD.read_text())["panels"]


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression, and where it stands."""
    yield from ((rule["alert"], rule["expr"]) for rule in rules())
    yield from ((panel["title"], target["expr"]) for panel in panels() for target in panel["targets"])
    yield from ((one["name"], one["expr"]) for one in json.loads(DASHBOARD.read_text())["annotations"]["list"])


@pytest.mark.parametrize(("place", "expression"), list(expressions()))
def test_an_expression_is_about_metrics_and_labels_that_there_are(place: str, expression: str) -> None:
    found = re.findall(r"(cutover_\w+)(?:\{([^}]*)\})?", expression)
    assert found
    for name, matchers in found:
        labels = {*SAMPLES[name].labels, *(["le"] if name.endswith("_bucket") else [])}
        given = dict(re.findall(r'(\w+)\s*(?:=|!=|=~|!~)\s*"([^"]*)"', matchers))
        assert given.keys() <= labels, place
        assert set(given.get("condition", "overdue").split("|")) <= {one.value for one in Condition}
        assert float(given.get("le", "30.0")) in BUCKETS_S


def test_the_page_lists_every_metric_and_every_alert_and_no_other() -> None:
    page = PAGE.read_text()
    assert re.findall(r"^\| `(cutover_\w+)", page, re.MULTILINE) == [*METRICS]
    for name, one in METRICS.items():
        [row] = re.findall(rf"^\| `{name}` \|([^|]*)\|([^|]*)\|([^|]*)\|", page, re.MULTILINE)
        told = [[part.strip(" `") for part in cell.split(",")] for cell in row]
        assert told == [[one.kind], list(one.labels) or [""], [place.value for place in one.places]]
    assert re.findall(r"^\| `(Cutover\w+)`", page, re.MULTILINE) == [rule["alert"] for rule in rules()]


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    board = json.loads(DASHBOARD.read_text())
    assert (board["title"], board["uid"], board["schemaVersion"] >= 36) == ("django-cutover", "django-cutover", True)
    assert len({panel["id"] for panel in panels()}) == len(panels())
    taken = set()
    for panel in panels():
        assert panel["type"] in {"stat", "timeseries", "table"}
        assert panel["datasource"]["uid"] == "${datasource}"
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        place = panel["gridPos"]
        cells = {(place["x"] + column, place["y"] + row) for column in range(place["w"]) for row in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not taken & cells, "panels lie beside each other"
        taken |= cells
    assert [one["name"] for one in board["templating"]["list"]] == ["datasource"]


def test_the_dashboard_counts_the_entries_with_a_problem_and_no_notice() -> None:
    [panel] = [panel for panel in panels() if panel["title"] == "Entries with something wrong"]
    [left_out] = re.findall(r'condition!~"([^"]*)"', panel["targets"][0]["expr"])
    assert left_out.split("|") == [one.value for one in Condition if one.severity is not Severity.PROBLEM]


@needs_promtool
def test_prometheus_accepts_rules_and_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    promtool("check", "rules", str(RULES))
    drawn = [target["expr"].replace("$__rate_interval", "1m") for panel in panels() for target in panel["targets"]]
    records = [{"record": f"panel:{number}", "expr": drawn_} for number, drawn_ in enumerate(drawn)]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": records}]}))
    promtool("check", "rules", str(file))


@needs_promtool
def test_each_alert_fires_where_it_should_and_no_other_on_a_site_that_is_well(tmp_path: Path) -> None:
    assert FAULTS.keys() == {rule["alert"] for rule in rules()}
    cases = [play("well", WELL, [(alert, []) for alert in FAULTS])]
    for alert, faults in FAULTS.items():
        cases += [play(alert, WELL | fault, [(alert, firing)]) for fault, firing in faults]
    bare = [{name: value for name, value in rule.items() if name != "annotations"} for rule in rules()]
    (tmp_path / "bare.yaml").write_text(yaml.safe_dump({"groups": [{"name": "cutover", "rules": bare}]}))
    file = tmp_path / "cases.yaml"
    file.write_text(yaml.safe_dump({"rule_files": ["bare.yaml"], "evaluation_interval": "1m", "tests": cases}))
    promtool("test", "rules", str(file))


def play(name: str, series: dict[str, str | None], alerts: list[tuple[str, list[dict[str, str]]]]) -> dict[str, Any]:
    """A test of promtool's: what there was, and with which labels each alert fires then."""
    told = {rule["alert"]: rule for rule in rules()}
    return {
        "name": name,
        "interval": "15s",
        "input_series": [{"series": one, "values": values} for one, values in series.items() if values],
        "alert_rule_test": [
            {
                "eval_time": AT,
                "alertname": alert,
                "exp_alerts": [{"exp_labels": {**labels, **told[alert]["labels"]}} for labels in firing],
            }
            for alert, firing in alerts
        ],
    }


def promtool(*arguments: str) -> None:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
