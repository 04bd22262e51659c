"""What is typed wrong is answered with what was probably meant."""

import gc

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from cutover.management.commands.cutover import PHASES, Command
from cutover.management.live import LiveLine


@pytest.mark.parametrize(
    ("typed", "meant"), [(["phase", "3"], "phase3"), (["pahse2"], "phase2"), (["rolback", "--force"], "rollback")]
)
def test_a_phase_that_there_is_not_is_answered_with_the_one_that_was_meant(
    typed: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        Command().run_from_argv(["manage.py", "cutover", *typed])
    assert ended.value.code == 2
    assert f"did you mean `python manage.py cutover {meant}`?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ([], "the following arguments are required: phase -> python manage.py cutover --help"),
        (["status", "--entri", "x"], "unrecognized arguments: --entri x; did you mean --entry? -> python manage.py"),
        (["status", "--entry"], "status: argument --entry: expected one argument -> python manage.py cutover status"),
        (["phase1", "--stoped=7@old"], "did you mean --stopped?"),
        (["phase3", "--guard", "0"], "phase3: argument --guard: '0' is no time from 1s to a week"),
        (["report", "--since", "7"], "report: argument --since: '7' has no unit: write 7d for days, or 7h for hours"),
        (["rollback", "--keep-edits", "--drop-edits"], "rollback: argument --drop-edits: not allowed with argument"),
    ],
)
def test_wrong_options_are_answered_in_one_line(
    typed: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["manage.py", "cutover", *typed]
    monkeypatch.setattr("sys.argv", argv)
    with pytest.raises(SystemExit) as ended:
        Command().run_from_argv(argv)
    [line] = capsys.readouterr().err.splitlines()
    assert (ended.value.code, line.startswith("cutover: "), said in line) == (2, True, True), line


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["report", "--html", "-", "--json", "-"], "cannot both be written to standard output"),
        (["report", "--html", "one", "--json", "./one"], "cannot both be written to one"),
        (["report", "--html", ""], "The name of a file to write is empty"),
        (["status", "--role", "any"], "--role goes with --check"),
        (["status", "--check", "--entry", "nightly"], "--check judges the site, and --entry shows the slots of one"),
        (["status", "--entry", "caf\udce9 \x1b[1m"], r"'caf\udce9 \x1b[1m' has bytes that are no text"),
        (["replay", "--missed", "--since", "2h", "--until", "3h"], "--since is later than --until: nothing was due"),
        (["replay", "--missed", "--since", "2999-01-01"], "--since is later than now"),
        (["pause", "--reason", "\udce9"], "has bytes that are no text"),
        (["phase4", "--waive", "fine", "--waive", "\udce9"], "has bytes that are no text"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line_before_anything_is_done(
    typed: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        Command().run_from_argv(["manage.py", "cutover", *typed])
    [line] = capsys.readouterr().err.splitlines()
    assert (ended.value.code, said in line, line.isprintable()) == (2, True, True), line


def test_what_was_there_before_a_typed_command_is_not_gone_through_by_its_garbage_collections() -> None:
    gc.unfreeze()
    with pytest.raises(CommandError):
        call_command("cutover", "status", "--entri")
    assert gc.get_freeze_count() == 0  # in a process of the project's nothing is changed
    with pytest.raises(SystemExit):
        Command().run_from_argv(["manage.py", "cutover", "status", "--entri"])
    assert gc.get_freeze_count() > 10_000
    gc.unfreeze()


def test_wrong_options_given_by_code_are_an_error_of_djangos() -> None:
    with pytest.raises(CommandError, match="--entri"):
        call_command("cutover", "status", "--entri")


def test_the_line_that_is_drawn_is_taken_away_also_by_what_nobody_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[LiveLine] = []
    monkeypatch.setattr(LiveLine, "end", lambda line: ended.append(line))
    monkeypatch.setitem(PHASES, "status", ("", lambda *_, **__: {}["nobody"], ""))
    with pytest.raises(KeyError, match="nobody"):
        call_command("cutover", "status")
    assert ended
