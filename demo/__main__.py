"""``python -m demo``: play the story, judge it, report it. Exit code 0: nothing missed, doubled or failed.

``python -m demo DRILL`` plays what an operator does on a bad day, in the same world: pause, guard, guard-frozen,
replay, backlog.
"""

import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from .alone import TAKEN, TakenError, alone_in
from .drills import DRILLS
from .processes import ROOT, Processes, interrupt_on_termination
from .story import Story
from .verdict import judge, judge_drill
from .world import StoryFailed, World

DIRECTORY = ROOT / "var" / "demo"
PAGE = DIRECTORY.parent / "report.html"
INTERRUPTED, USAGE = 130, 2
COUNTED = {
    "slots_expected": "slots that fell due",
    "slots_run": "slots run",
}
VISITED = {
    "off_schedule": "sent off schedule",
    "requests_total": "requests",
    "requests_failed": "requests failed",
    "request_slowest_ms": "slowest answer, ms",
}
REST = {
    "mails": "digests mailed",
    "survivors": "processes left over",
    "seconds": "seconds, all in all",
}
SHOWN = {
    **COUNTED,
    "missed": "missed",
    "doubled": "doubled",
    **VISITED,
    "switch_gap_ms": "ms without a leader at a cutover",
    "rollback_gap_ms": "ms without a leader at the rollback",
    "max_late_ms": "ms late, the latest slot around a switch",
    **REST,
}
SHOWN_OF_A_DRILL = {
    **COUNTED,
    "named": "not run, and named with a reason",
    "unnamed": "not run, and not named",
    "run_twice": "run twice",
    **VISITED,
    **REST,
}

FAULTS = ("missed_slots", "doubled_slots", "off_schedule_slots", "failed_requests")
FAULTS_OF_A_DRILL = ("unnamed_slots", "off_schedule_slots", "failed_requests")
"""The lists that say what went wrong, a fault each."""
FEW = 3
"""How many of each are printed."""


def main(arguments: Sequence[str]) -> int:
    """Play in a directory of its own and return the exit code."""
    if len(arguments) > 1 or not DRILLS.keys() >= set(arguments):
        print(f"python -m demo [{' | '.join(DRILLS)}]", file=sys.stderr)
        return USAGE
    interrupt_on_termination()
    try:
        with alone_in(DIRECTORY):
            return _play(arguments)
    except TakenError as taken:
        print(f"python -m demo: {taken}", file=sys.stderr)
        return TAKEN


def _play(arguments: Sequence[str]) -> int:
    started = time.monotonic()
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    processes = Processes(logs=DIRECTORY / "logs")
    try:
        with processes:
            report = _drilled(processes, *arguments) if arguments else judge(Story(processes, DIRECTORY).run())
    except KeyboardInterrupt:
        print(f"\nInterrupted. Processes left over: {len(processes.survivors())}.", file=sys.stderr)
        return INTERRUPTED
    except (StoryFailed, RuntimeError, TimeoutError) as error:
        print(f"\nThe story broke off: {error}", file=sys.stderr)
        return 1
    report["survivors"] = len(processes.survivors())
    report["seconds"] = round(time.monotonic() - started, 1)
    report["passed"] = report["passed"] and not report["survivors"]
    (DIRECTORY / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print(_drill_table(report) if arguments else _story_table(report))
    return 0 if report["passed"] else 1


def _drilled(processes: Processes, name: str) -> dict[str, object]:
    drill = DRILLS[name]
    with World(processes, DIRECTORY, **drill.settings) as world:
        world.step(drill.title)
        return judge_drill(world.end(drill.play(world), switches=[]))


def _story_table(report: dict[str, Any]) -> str:
    var = DIRECTORY.relative_to(ROOT)
    return "\n".join(
        [
            *_table(report, SHOWN, FAULTS, "every slot once, every request answered"),
            f"All of it: {var}/report.json; logs: {var}/logs/",
            f"The report, for a browser: {PAGE}",
        ]
    )


def _drill_table(report: dict[str, Any]) -> str:
    var = DIRECTORY.relative_to(ROOT)
    passed = "every slot once, or named; every request answered"
    return "\n".join(
        [
            *_table(report, SHOWN_OF_A_DRILL, FAULTS_OF_A_DRILL, passed),
            f"All of it: {var}/report.json; logs: {var}/logs/",
        ]
    )


def _table(report: dict[str, Any], shown: Mapping[str, str], faults: Sequence[str], passed: str) -> list[str]:
    width = max(map(len, shown.values()))
    lines = [f"    {title:<{width}}  {report[key]!s:>8}" for key, title in shown.items()]
    if report["passed"]:
        return ["", *lines, "", f"Passed: {passed}."]
    return ["", *lines, "", "FAILED.", *(f"    {one}" for name in faults for one in list(report[name])[:FEW])]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
