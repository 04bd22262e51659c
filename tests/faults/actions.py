"""The faults, by name. A scenario's step is such a name with its arguments, said of one of the cast or of a server."""

import signal
from collections.abc import Callable
from typing import Final

from demo import frozen
from demo.waiting import wait_until

from .member import Member, is_alive, is_frozen
from .stage import Stage

MOMENT_S: Final = 15.0


def kill(stage: Stage, member: Member) -> None:
    """Power cut of a container: the whole process group at once."""
    member.may_end = True
    member.process.kill()


def term(stage: Stage, member: Member) -> None:
    """A platform's SIGTERM; returns when the process has ended, which it must do well."""
    member.may_end = True
    assert member.process.stop() == 0, member.process.output


def freeze(stage: Stage, member: Member) -> None:
    """A paused container, a swapped-out host: SIGSTOP."""
    frozen.freeze(member.process, stage.books.file)


def thaw(stage: Stage, member: Member) -> None:
    """SIGCONT."""
    frozen.thaw(member.process)


def freeze_at(stage: Stage, member: Member, point: str) -> None:
    """Freeze at a seam of the protocol; see ``launch``. Returns when it is frozen there."""
    member.order(point, "stop")
    wait_until(lambda: not member.is_ordered() and is_frozen(member), f"{member.name} is frozen at {point}", MOMENT_S)


def kill_at(stage: Stage, member: Member, point: str) -> None:
    """Kill at a seam of the protocol; returns when it is dead."""
    member.may_end = True
    member.order(point, "kill")
    wait_until(lambda: not is_alive(member), f"{member.name} died at {point}", MOMENT_S)


def order(stage: Stage, member: Member, point: str, action: str) -> None:
    """Have something happen to it at a seam of the protocol, whenever it comes there."""
    member.may_end = True
    member.order(point, action)


def cut(stage: Stage, member: Member, *wires: str) -> None:
    """Reset connections, refuse new ones."""
    for name in wires:
        member.wires[name].cut()


def slow(stage: Stage, member: Member, wire: str, delay_s: str) -> None:
    """Delay what is sent and what is answered."""
    member.wires[wire].slow(float(delay_s))


def hold(stage: Stage, member: Member, *wires: str) -> None:
    """A black hole: nothing arrives, nothing is refused."""
    for name in wires:
        member.wires[name].hold()


def half_open(stage: Stage, member: Member, *wires: str) -> None:
    """The server has lost the connection, the client does not know."""
    for name in wires:
        member.wires[name].half_open()


def fix(stage: Stage, member: Member, *wires: str) -> None:
    """The network is well again."""
    for name in wires:
        member.wires[name].fix()


def clock(stage: Stage, member: Member, off_s: str) -> None:
    """Step one host's clock."""
    member.set_clock(float(off_s))


def restart(stage: Stage, member: Member) -> None:
    """A platform replaces the container: the new one is up before the old one gets its SIGTERM."""
    old = member.process
    stage.restart([member])
    assert old.stop() == 0, old.output


def flush(stage: Stage) -> None:
    """FLUSHALL where the lease is."""
    with stage.lease_server.client() as client:
        client.flushall()


def drop_lease(stage: Stage) -> None:
    """DEL of the lease."""
    with stage.lease_server.client() as client:
        client.delete("{cutover:cutover}:lease")


def evict(stage: Stage) -> None:
    """A server so full that it evicts what it pleases."""
    with stage.lease_server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", 1)


def fill(stage: Stage) -> None:
    """A server so full that it takes no writes."""
    with stage.lease_server.client() as client:
        client.config_set("maxmemory", 1)


def demote(stage: Stage) -> None:
    """The lease's server has become a replica: it can be read only."""
    with stage.lease_server.client() as client:
        client.config_set("replica-serve-stale-data", "yes")
        client.replicaof("127.0.0.1", "1")


def restart_empty(stage: Stage) -> None:
    """The lease's server is killed and started again, empty."""
    stage.lease_server.kill()
    stage.lease_server.start()


def lose_redis(stage: Stage) -> None:
    """The lease's server is killed."""
    stage.lease_server.kill()


def freeze_redis(stage: Stage) -> None:
    """The lease's server answers nothing any more."""
    stage.lease_server.send(signal.SIGSTOP)


def thaw_redis(stage: Stage) -> None:
    """It goes on."""
    stage.lease_server.send(signal.SIGCONT)


def freeze_broker(stage: Stage) -> None:
    """The broker answers nothing any more."""
    stage.broker.send(signal.SIGSTOP)


def thaw_broker(stage: Stage) -> None:
    """It goes on."""
    stage.broker.send(signal.SIGCONT)


def lose_broker(stage: Stage) -> None:
    """The broker is killed; it has written down what it was handed.

    Celery 5.7's worker may end with an AttributeError when that happens between a run and its acknowledgement; a
    platform starts it again.
    """
    for member in stage.cast.values():
        member.may_end |= member.kind == "worker"
    stage.broker.kill()


def start_broker(stage: Stage) -> None:
    """It is there again, with what it was handed."""
    stage.broker.start()
    stage.watch_broker()


def end_backends(stage: Stage) -> None:
    """Every connection of the database is ended by its server."""
    stage.server.end_sessions()


def stop_database(stage: Stage) -> None:
    """The database's server is stopped."""
    stage.server.stop()


def start_database(stage: Stage) -> None:
    """It is started again."""
    stage.server.start()


def read_only(stage: Stage) -> None:
    """The database's server takes no writes."""
    stage.server.set_read_only(True)


def writable(stage: Stage) -> None:
    """It takes them again."""
    stage.server.set_read_only(False)


def run(stage: Stage, *arguments: str) -> None:
    """The operator's command, to its end."""
    process = stage.site.cutover(*arguments)
    assert process.exit_code == 0, process.output


ACTIONS: Final[dict[str, Callable[..., None]]] = {
    name: value for name, value in vars().items() if getattr(value, "__module__", "") == __name__
}
