"""Two ways in which a platform leads visitors from the old process to the new one."""

import contextlib
import http.client
import os
import shutil
import signal
import socket
from pathlib import Path
from typing import Protocol

from demo.processes import Process, Processes
from demo.services import HOST, free_port
from demo.site import Site
from demo.waiting import wait_until

COMMAND = "python manage.py prodserver web"
ANSWERED = '"http.request"'
"""What a process has in its log once it has answered a request."""

NGINX = """
{user}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream web {{
        server {host}:{port};
        keepalive 32;
    }}
    server {{
        listen {host}:{door};
        location / {{
            proxy_pass http://web;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_request_buffering {buffering};
        }}
    }}
}}
"""


class Router(Protocol):
    """What stands between the visitors and the processes; ``with`` it, it is there."""

    name: str
    address: tuple[str, int]

    def __enter__(self) -> "Router": ...

    def __exit__(self, *exc: object) -> None: ...

    def start(self, site: Site, number: int) -> Process:
        """Start the process of release ``number``; return when it answers."""

    def turn_to(self, process: Process) -> None:
        """Send visitors to ``process`` from here on."""


class Door:
    """One listening socket that every process inherits and takes connections from: nothing to turn."""

    name = "door"

    def __enter__(self) -> "Door":
        self._socket = socket.create_server((HOST, 0), backlog=1024)
        self.address: tuple[str, int] = self._socket.getsockname()
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()

    def start(self, site: Site, number: int) -> Process:
        door = self._socket.fileno()
        process = site.processes.start(f"web-{number}", COMMAND, {**site.env, "WEB_BIND": f"fd://{door}"}, fds=[door])
        # Whoever takes this one: sooner or later it is the new process.
        wait_until(lambda: _has_answered(process, self.address), f"{process.name} answers (see {process.log})")
        return process

    def turn_to(self, process: Process) -> None:
        pass


class Nginx:
    """A proxy that keeps connections to the process open, and is told of the next one by a reload."""

    name = "nginx"
    buffering = "off"

    def __init__(self, processes: Processes, directory: Path) -> None:
        if not (found := shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")):
            raise SystemExit("nginx is not installed (Debian and Ubuntu: apt install nginx-light)")
        self._program, self._processes, self._directory = found, processes, directory
        self._nginx: Process | None = None
        self._ports: dict[str, int] = {}

    def __enter__(self) -> "Nginx":
        self._directory.mkdir(parents=True)
        self.address = (HOST, free_port())
        return self

    def __exit__(self, *exc: object) -> None:
        if self._nginx:
            self._nginx.stop()

    def start(self, site: Site, number: int) -> Process:
        port = free_port()
        process = site.processes.start(f"web-{number}", COMMAND, {**site.env, "WEB_BIND": f"{HOST}:{port}"})
        self._ports[process.name] = port
        wait_until(lambda: _has_answered(process, (HOST, port)), f"{process.name} answers (see {process.log})")
        return process

    def turn_to(self, process: Process) -> None:
        seen = process.output.count(ANSWERED)
        conf = self._directory / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""
        port, door = self._ports[process.name], self.address[1]
        values = {"host": HOST, "port": port, "door": door, "buffering": self.buffering, "user": user}
        conf.write_text(NGINX.format(directory=self._directory, **values))
        if self._nginx:
            self._nginx.send(signal.SIGHUP)
        else:
            command = [self._program, "-e", "stderr", "-p", str(self._directory), "-c", str(conf)]
            self._nginx = self._processes.start("nginx", command, os.environ)
        wait_until(lambda: _has_answered(process, self.address, seen), "nginx turns to the new process")


class BufferingNginx(Nginx):
    """As nginx does without a word on it, and Dokku: a body is kept until it is whole, and only then sent on."""

    name = "nginx-buffering"
    buffering = "on"


def _has_answered(process: Process, address: tuple[str, int], before: int = 0) -> bool:
    if process.exit_code is not None:
        raise RuntimeError(f"{process.name} ended with {process.exit_code}:\n{process.output}")
    connection = http.client.HTTPConnection(*address, timeout=2)
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/healthz")
        connection.getresponse().read()
    connection.close()
    return process.output.count(ANSWERED) > before
