"""A RabbitMQ of the test's own: Debian's, with its files, its ports and its name server apart from any other."""

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.processes import Process, Processes
from demo.services import HOST, free_port
from demo.waiting import wait_until

SCRIPTS = Path("/usr/lib/rabbitmq/lib")
MISSING = "RabbitMQ is not installed (Debian and Ubuntu: apt install rabbitmq-server)"


def script() -> Path:
    """The server's start script, which runs as any user; skips the test where there is none."""
    found = sorted(SCRIPTS.glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    if not found or not shutil.which("epmd"):
        pytest.skip(MISSING)
    return found[-1]


@contextlib.contextmanager
def running(processes: Processes, directory: Path) -> Iterator[str]:
    """Run a server and its name server; yields the broker's URL."""
    server, port, names = script(), free_port(), free_port()
    directory.mkdir(parents=True, exist_ok=True)
    plugins = directory / "enabled_plugins"
    plugins.write_text("[].")
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "ERL_EPMD_PORT": str(names),
        "ERL_EPMD_ADDRESS": HOST,
        "RABBITMQ_NODENAME": f"cutover-{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": HOST,
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(directory / "data"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
        "RABBITMQ_CONFIG_FILE": str(directory / "none"),
        "RABBITMQ_CONF_ENV_FILE": str(directory / "none"),
    }
    # In the foreground: the server would start one that outlives it.
    epmd = processes.start("epmd", ["epmd", "-port", str(names), "-address", HOST], env)
    broker = processes.start("rabbitmq", [str(server)], env)
    wait_until(lambda: _answers(broker, port), f"RabbitMQ answers on port {port}", timeout_s=60, poll_s=0.2)
    try:
        yield f"amqp://guest:guest@{HOST}:{port}//"
    finally:
        broker.stop()
        epmd.kill()


def _answers(broker: Process, port: int) -> bool:
    if broker.exit_code is not None:
        raise RuntimeError(f"RabbitMQ did not start:\n{broker.output}")
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        connection.settimeout(2)
        return bool(connection.recv(1))
    return False
