"""Model servers behind the proxies: nginx with one fixed answer, and the paced ones, with and without TLS."""

import sys
from pathlib import Path

import msgspec

from bench.stage import LOAD_CPU, templates
from bench.stage.callers import BODIES
from bench.stage.certificate import Certificate, make_certificate
from bench.stage.programs import Programs
from loadtest.ports import free_ports


class Upstream(msgspec.Struct, frozen=True):
    """Ports (or addresses with one port) of equal model servers; `ca` when they speak TLS."""

    ports: tuple[int, ...]
    ca: Path | None = None
    hosts: tuple[str, ...] = ("127.0.0.1",)

    @property
    def urls(self) -> tuple[str, ...]:
        """Base URLs, as settings have them."""
        scheme = "https" if self.ca else "http"
        return tuple(f"{scheme}://{host}:{port}/v1" for host in self.hosts for port in self.ports)


def start_plain(programs: Programs, ports: int = 2, hosts: int = 1, name: str = "plain") -> Upstream:
    """nginx that answers every request with one completion of 573 bytes, on `hosts` addresses of the loopback."""
    found, addresses = free_ports(ports), tuple(f"127.0.{n // 250}.{n % 250 + 1}" for n in range(hosts))
    text = templates.plain_upstream(programs.folder, name, addresses, found, BODIES / "plain.json")
    programs.start(LOAD_CPU, name, ["nginx", "-c", str(programs.write(f"{name}.conf", text))], found[0])
    return Upstream(tuple(found), None, addresses)


def start_paced(
    programs: Programs, count: int = 1, flags: tuple[str, ...] = (), certificate: Certificate | None = None
) -> Upstream:
    """`count` paced model servers; `flags` are those of bench.stage.model_server."""
    ports = free_ports(count)
    secure = ("--cert", str(certificate.server)) if certificate else ()
    for port in ports:
        command = [sys.executable, "-P", "-m", "bench.stage.model_server", str(port), *flags, *secure]
        programs.start(LOAD_CPU, f"paced-{port}", command, port)
    return Upstream(tuple(ports), certificate.authority if certificate else None)


def start_secure(programs: Programs) -> Upstream:
    """A paced model server behind TLS, with a certificate made for this run."""
    return start_paced(programs, 1, (), make_certificate(programs.folder))
