"""Has Spin visit every state of ``protocol.pml`` that can be reached; nothing is sampled.

Spin writes a C program that explores the states, and a C compiler makes it quick. Needs nothing of the project.
"""

import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

MODEL = Path(__file__).with_name("protocol.pml")
NO_CYCLE = "NO_CYCLE"
"""An option of its own: look for a cycle, not for a broken promise."""
MEMORY = "-DMEMLIM=3900"
"""Megabytes; a check that needs more fails."""

BRIEF = {
    "beats": "BEATS_ONLY SWITCHES=1 LOST=1 CRASHES=1",
    "beats, one entry": "BEATS_ONLY ONE_ENTRY SWITCHES=1 CRASHES=1 REFUSALS=1 BLIPS=1 STRAYS=1",
    "beats, every slot": "BEATS_ONLY ONE_ENTRY EVERY SWITCHES=1 CRASHES=1 REFUSALS=1",
    "beats, replay": "BEATS_ONLY ONE_ENTRY REPLAYS=1 SWITCHES=1 CRASHES=1 REFUSALS=1 BLIPS=1",
    "beats, paused": "BEATS_ONLY PAUSES=1 SWITCHES=1 CRASHES=1",
    "workers": "WORKERS_ONLY DEATHS=1 REDELIVERIES=2 STRAYS=1 DOUBTS=1",
    "both": "SWITCHES=1 DEATHS=1 REDELIVERIES=1",
    "both, no cycle": "NO_CYCLE CRASHES=1 REFUSALS=1 BLIPS=1 DEATHS=1",
}
FULL = {
    "beats, there and back": "BEATS_ONLY SWITCHES=2 LOST=1 CRASHES=1",
    "beats, one of each": "BEATS_ONLY SWITCHES=1 LOST=1 CRASHES=1 REFUSALS=1 BLIPS=1",
    "beats, one entry": "BEATS_ONLY ONE_ENTRY SWITCHES=1 LOST=1 CRASHES=1 REFUSALS=1 STRAYS=1",
    "beats, every slot": "BEATS_ONLY ONE_ENTRY EVERY SWITCHES=1 LOST=1 CRASHES=1 REFUSALS=1 BLIPS=1",
    "beats, replay": "BEATS_ONLY ONE_ENTRY REPLAYS=1 SWITCHES=1 LOST=1 CRASHES=1 REFUSALS=1 BLIPS=1",
    "both, replay": "ONE_ENTRY REPLAYS=1 CRASHES=1 DEATHS=1",
    "beats, many faults": "BEATS_ONLY LOST=3 CRASHES=3 REFUSALS=2 BLIPS=2",
    "beats, paused twice": "BEATS_ONLY PAUSES=2 SWITCHES=1 CRASHES=1 REFUSALS=1",
    "beats, one entry, paused": "BEATS_ONLY ONE_ENTRY PAUSES=1 SWITCHES=1 CRASHES=1 STRAYS=1",
    "beats, every slot, paused": "BEATS_ONLY ONE_ENTRY EVERY PAUSES=1 SWITCHES=1 CRASHES=1",
    "beats, replay, paused": "BEATS_ONLY ONE_ENTRY REPLAYS=1 PAUSES=1 SWITCHES=1 CRASHES=1",
    "both, paused": "PAUSES=1 DEATHS=1",
    "workers": "WORKERS_ONLY DEATHS=3 REDELIVERIES=3 STRAYS=1 DOUBTS=1",
    "both, with a switch": "SWITCHES=1 CRASHES=1 DEATHS=1",
    "both, with a lost lease": "LOST=1 DEATHS=1 REDELIVERIES=1",
    "both, with strays": "CRASHES=1 BLIPS=1 DEATHS=1 REDELIVERIES=1 STRAYS=1",
    "both, with a doubt": "CRASHES=1 BLIPS=1 DEATHS=1 DOUBTS=1",
    "beats, no cycle": "NO_CYCLE BEATS_ONLY SWITCHES=1 LOST=1 CRASHES=1",
    "paused, no cycle": "NO_CYCLE BEATS_ONLY PAUSES=2 CRASHES=1",
    "workers, no cycle": "NO_CYCLE WORKERS_ONLY DEATHS=2 REDELIVERIES=2 DOUBTS=1",
}


class CheckError(Exception):
    """The check did not come to its end: it says nothing."""


@dataclass(frozen=True)
class Finding:
    """What was found: the promise that was broken (empty for none), the steps that led there, and how much was seen."""

    broken: str
    story: str
    states: int
    seconds: float


def missing() -> str:
    """What this machine lacks, and the remedy; empty when there is nothing."""
    if shutil.which("spin") is None:
        return "the model checker is missing: install spin (Debian, Ubuntu: apt install spin; macOS: brew install spin)"
    if _compiler() is None:
        return "a C compiler is missing: install one (Debian, Ubuntu: apt install gcc; macOS: xcode-select --install)"
    return ""


def check(options: str, directory: Path, timeout_s: float = 600, optimize: str = "-O2") -> Finding:
    """Explore the model under ``options``, its macros; works in the empty ``directory``. Raises CheckError.

    ``optimize``: the compiler's option; to optimize takes longer than it saves where there are few states.
    """
    began = time.monotonic()
    for_cycles = NO_CYCLE in options.split()
    macros = [f"-D{option}" for option in options.split() if option != NO_CYCLE]
    shutil.copy(MODEL, directory)
    compiler = _compiler() or "cc"
    spin = ["spin", f"-P{compiler} -E -x c"]
    _run([*spin, "-a", *macros, MODEL.name], directory, timeout_s)
    # Every step touches what all share, so partial order reduction finds nothing to leave out; and states are small.
    kind = ["-DNP"] if for_cycles else ["-DSAFETY", "-DNOCOMP"]
    _run(
        [compiler, optimize, "-w", *kind, "-DNOREDUCE", "-DNOFAIR", MEMORY, "-o", "pan", "pan.c"], directory, timeout_s
    )
    said = _run(["./pan", "-m20000", "-w24", "-n", *(["-l"] if for_cycles else [])], directory, timeout_s)
    states, errors = re.search(r"(\d+) states, stored", said), re.search(r"errors: (\d+)", said)
    if states is None or errors is None:
        raise CheckError(said)
    broken = story = ""
    if errors[1] != "0":
        replayed = _run([*spin, "-T", "-t", *macros, MODEL.name], directory, timeout_s)
        story = replayed.partition("spin: trail ends")[0]
        broken = "no cycle" if for_cycles else _promise(story)
    elif "not completed" in said or "too small" in said:
        raise CheckError(said)
    return Finding(broken, story, int(states[1]), time.monotonic() - began)


def _promise(story: str) -> str:
    """The promise whose assertion failed: the model names it on the same line."""
    failed = re.search(rf"{MODEL.name}:(\d+), Error: assertion violated", story)
    line = MODEL.read_text().splitlines()[int(failed[1]) - 1] if failed else ""
    return line.partition("/* ")[2].partition(" */")[0] or "an assertion"


def _compiler() -> str | None:
    return next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


def _run(command: list[str], directory: Path, timeout_s: float) -> str:
    try:
        done = subprocess.run(
            command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s
        )
    except subprocess.TimeoutExpired as exc:
        raise CheckError(f"{command[0]} took more than {timeout_s:.0f} s") from exc
    if done.returncode != 0:
        raise CheckError(f"{command[0]} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout
