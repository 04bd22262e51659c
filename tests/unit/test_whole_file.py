"""A file is written whole or not at all, whatever ends the process that writes it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from celery import Celery

from cutover import whole_file
from cutover.errors import ConfigurationError
from cutover.setup import init
from cutover.setup.findings import Project


@pytest.fixture
def killed_half_way(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Files get the first half of what is written, and then the process ends; gives what ends that."""
    write = Path.write_text

    def half(self: Path, text: str, *given: object, **options: object) -> int:
        write(self, text[: len(text) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", half)
    return lambda: monkeypatch.setattr(Path, "write_text", write)


@pytest.mark.usefixtures("killed_half_way")
def test_what_there_was_stays_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_bytes(b"the one before")
    with pytest.raises(KeyboardInterrupt):
        whole_file.write(file, "a page of many lines")
    assert file.read_bytes() == b"the one before"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("name", ["", ".", "/", "no/such/folder"])
def test_what_is_no_name_of_a_file_is_an_error_of_the_system(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match=r"."):
        whole_file.write(tmp_path / name if name.startswith("no") else Path(name), "text")


def test_a_link_goes_on_leading_to_what_is_written(tmp_path: Path) -> None:
    there = tmp_path / "there.html"
    link = tmp_path / "link.html"
    link.symlink_to(there)
    for text in ("first", "second"):
        whole_file.write(link, text)
        assert (link.is_symlink(), there.read_text()) == (True, text)


def test_what_is_no_file_is_written_into_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        whole_file.write(pipe, "a page")
        assert (pipe.is_fifo(), os.read(reader, 100)) == (True, b"a page")
    finally:
        os.close(reader)


def test_an_init_that_is_killed_as_it_makes_a_file_and_typed_again_makes_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_half_way: Callable[[], None]
) -> None:
    monkeypatch.setattr(Project, "app", Celery("shop", set_as_current=False))
    wanted = {piece["file"]: piece for piece in init.run(root=tmp_path).data["files"] if piece["how"] == "create"}
    assert wanted
    with pytest.raises(KeyboardInterrupt):
        init.run(root=tmp_path, write=True)
    killed_half_way()
    init.run(root=tmp_path, write=True)
    assert {name: (tmp_path / name).read_text() for name in wanted} == {
        name: piece["text"] for name, piece in wanted.items()
    }


def test_where_no_file_may_be_made_init_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Project, "app", Celery("shop", set_as_current=False))
    (tmp_path / "requirements.txt").unlink(missing_ok=True)

    def refused(file: Path, text: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(whole_file, "write", refused)
    with pytest.raises(ConfigurationError, match="cannot be made: Permission denied"):
        init.run(root=tmp_path, write=True)
