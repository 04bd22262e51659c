"""``rediss://``: lock and broker over TLS, the server's certificate verified."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.processes import Processes, python
from demo.services import HOST, Valkey, free_port, is_free
from demo.waiting import wait_until
from tests.parts.conftest import Journey
from tests.support.site import Site

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


@dataclass(frozen=True)
class Authority:
    """A certificate that signs itself, good for the loopback address."""

    certificate: Path
    key: Path


def authority(directory: Path, name: str) -> Authority:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed (Debian and Ubuntu: apt install openssl)")
    made = Authority(directory / f"{name}.pem", directory / f"{name}.key")
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    files = ["-addext", f"subjectAltName=IP:{HOST}", "-keyout", str(made.key), "-out", str(made.certificate)]
    subprocess.run([*request, *files], check=True, capture_output=True)
    return made


@pytest.fixture
def tls(processes: Processes, valkey: Valkey, tmp_path: Path) -> tuple[int, Authority]:
    """The port of Valkey behind TLS, and who signed for it."""
    signed_by, port = authority(tmp_path, "server"), free_port()
    module = ("-m", "tests.parts.tls_front", str(signed_by.certificate), str(signed_by.key), str(port))
    processes.start("tls", python(*module, str(valkey.port)), os.environ)
    wait_until(lambda: not is_free(port), "TLS is up")
    return port, signed_by


def url(port: int, trusted: Authority) -> str:
    return f"rediss://{HOST}:{port}/0?ssl_cert_reqs=required&ssl_ca_certs={trusted.certificate}"


def test_the_whole_cutover_over_tls(journey: Journey, sqlite_site: Site, tls: tuple[int, Authority]) -> None:
    sqlite_site.env["REDIS_URL"] = url(*tls)
    journey(sqlite_site)


def test_a_certificate_that_is_not_trusted_is_one_clear_line(
    sqlite_site: Site, tls: tuple[int, Authority], tmp_path: Path
) -> None:
    sqlite_site.env["REDIS_URL"] = url(tls[0], authority(tmp_path, "stranger"))
    command = sqlite_site.cutover("phase1")
    assert command.exit_code == 3
    assert "Traceback" not in command.output
    [line] = [line for line in command.output.splitlines() if " redis: " in line]
    assert "certificate verify failed" in line.lower()


def test_a_server_that_speaks_no_tls_is_one_clear_line(sqlite_site: Site, valkey: Valkey) -> None:
    sqlite_site.env["REDIS_URL"] = f"rediss://{HOST}:{valkey.port}/0?ssl_cert_reqs=none"
    command = sqlite_site.cutover("phase1")
    assert command.exit_code == 3
    assert "Traceback" not in command.output
    for gate in ("redis", "broker"):
        [line] = [line for line in command.output.splitlines() if f" {gate}: " in line]
        assert "gives no answer: " in line
