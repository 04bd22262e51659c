"""One process of the cast: its ways to each server, its orders, and its clock."""

from dataclasses import dataclass, field
from pathlib import Path

from demo.processes import Process

from . import launch
from .wire import Wire


@dataclass
class Member:
    """One process of the cast, with ways of its own to each server, orders, and a clock."""

    name: str
    kind: str
    wires: dict[str, Wire]
    directory: Path
    process: Process = field(init=False)
    may_end: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    """What its release sets otherwise than the site."""

    @property
    def env(self) -> dict[str, str]:
        return {
            **self.settings,
            launch.ORDERS: str(self.directory / "orders"),
            launch.CLOCK: str(self.directory / "clock"),
        }

    def order(self, point: str, action: str) -> None:
        """Have the process act when it comes to ``point`` next."""
        self._write("orders", f"{point} {action}")

    def is_ordered(self) -> bool:
        """Whether the order still waits to be carried out."""
        return (self.directory / "orders").exists()

    def set_clock(self, off_s: float) -> None:
        """Put its clock ahead, or back."""
        self._write("clock", str(off_s))

    def forget_orders(self) -> None:
        for name in ("orders", "clock"):
            (self.directory / name).unlink(missing_ok=True)

    def _write(self, name: str, text: str) -> None:
        draft = self.directory / f"{name}.draft"
        draft.write_text(text)
        draft.replace(self.directory / name)


def is_alive(member: Member) -> bool:
    """Whether its process has not ended; a frozen one is alive."""
    return member.process.exit_code is None


def is_frozen(member: Member) -> bool:
    """Whether its process is stopped."""
    return Path(f"/proc/{member.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
