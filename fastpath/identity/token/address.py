"""Which URLs and addresses may be asked: the rules against making this process somebody's proxy (SSRF). Pure.

A document of one provider names URLs (`jwks_uri`, `token_endpoint`), so these are not the operator's word. A host is
resolved once, every address it has must pass, and the connection goes to the address that passed.
"""

import ipaddress
import re
from collections.abc import Collection
from enum import Enum, auto
from urllib.parse import urlsplit

import msgspec

_HOST = re.compile(r"(?=.{1,253}\Z)(?!-)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_LOCAL = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
#: IANA's special-purpose registries of 2024, written out because Python's `is_global` differs from one patch release to
#: the next (3.11.7 takes 192.0.0.192 for public). 2001::/23 and 2002::/16 are tunnels in which another address hides.
_SPECIAL = tuple(
    ipaddress.ip_network(block)
    for block in (
        *("0.0.0.0/8", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "169.254.0.0/16"),
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ForbiddenTarget(Exception):
    """A URL or an address that is not asked. The message says what would be."""


class Reach(Enum):
    """Who an address leads to."""

    PUBLIC = auto()
    PRIVATE = auto()
    LOOPBACK = auto()
    FORBIDDEN = auto()


class Target(msgspec.Struct, frozen=True):
    """A URL in its parts. host: lower case, IPv6 without brackets. path: with its query, beginning with `/`."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """As the Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


def read_url(url: str) -> Target:
    """The parts of an http(s) URL. Raises ForbiddenTarget for all that two readers could read in two ways."""
    if not 8 <= len(url) <= 2048 or not url.isascii() or any(c <= " " or c in '\\"<>^`{|}\x7f#@' for c in url):
        raise ForbiddenTarget("a URL must be plain ASCII without spaces, user, fragment or backslash")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ForbiddenTarget("a URL must be whole: https://host:port/path") from None
    if parts.scheme not in ("http", "https") or not url.startswith(f"{parts.scheme}://"):
        raise ForbiddenTarget("a URL must begin with https://")
    host = _read_host(parts.hostname or "", bracketed="[" in parts.netloc)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path)


def check_addresses(target: Target, addresses: Collection[str], allowed: Collection[str]) -> None:
    """Whether all addresses of the target's host may be asked. allowed: hosts that may be private or loopback.

    Plain http only to loopback. Raises ForbiddenTarget.
    """
    if not addresses:
        raise ForbiddenTarget("the host has no address")
    reaches = {reach_of(address) for address in addresses}
    permitted = {Reach.PUBLIC, Reach.PRIVATE, Reach.LOOPBACK} if target.host in allowed else {Reach.PUBLIC}
    if not reaches <= permitted:
        raise ForbiddenTarget("the host leads into a private network: name it in allow_hosts if that is meant")
    if target.scheme != "https" and reaches != {Reach.LOOPBACK}:
        raise ForbiddenTarget("the URL must begin with https://")


def reach_of(text: str) -> Reach:
    """Who an address in text form leads to."""
    try:
        address: _Address = ipaddress.ip_address(text)
    except ValueError:
        return Reach.FORBIDDEN
    if isinstance(address, ipaddress.IPv6Address):
        address = _unwrap(address)
    if address.is_loopback:
        return Reach.LOOPBACK
    if _within(address, _LOCAL):
        return Reach.PRIVATE
    if _within(address, _SPECIAL) or not (address.version == 4 or address in _GLOBAL_UNICAST):
        return Reach.FORBIDDEN  # among them link-local, where clouds keep their credentials
    return Reach.PUBLIC


def _unwrap(address: ipaddress.IPv6Address) -> _Address:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _within(address: _Address, blocks: Collection[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    return any(address.version == block.version and address in block for block in blocks)


def _read_host(text: str, bracketed: bool) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        last = text.rpartition(".")[2]
        # `127.1`, `2130706433` and `0x7f.1` are addresses to the C library and names to others.
        if bracketed or not _HOST.fullmatch(text) or re.fullmatch(r"[0-9]+|0x[0-9a-f]*", last):
            raise ForbiddenTarget("the host must be a name or an address in its usual form") from None
        return text
    if isinstance(address, ipaddress.IPv6Address) and (address.scope_id or not bracketed):
        raise ForbiddenTarget("an IPv6 address must be in brackets and without a zone")
    return str(address)
