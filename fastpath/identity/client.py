"""Whose address a request came from, when proxies stand between.

The rightmost address of X-Forwarded-For that is not a trusted proxy's, believed only when the socket's peer is one;
anything unparsable ends the walk at the last address that could be trusted.
"""

import ipaddress
from collections.abc import Sequence

from _native.door import Exchange

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ClientAddress:
    """Finds the caller's address. trusted: CIDR blocks of our own proxies."""

    def __init__(self, trusted: Sequence[str]) -> None:
        self._trusted: list[Network] = [ipaddress.ip_network(block, strict=False) for block in trusted]

    def of(self, exchange: Exchange) -> str:
        """The caller's address as text, "" when the socket has none."""
        peer = exchange.peer
        if not self._trusted or not self.trusts(peer):
            return peer
        chain = exchange.values(b"x-forwarded-for")
        if not chain:
            return peer
        nearest = peer
        for text in reversed(b",".join(chain).decode("latin-1").split(",")):
            address = parse_address(text)
            if address is None:
                return nearest
            nearest = str(address)
            if not self.trusts(nearest):
                return nearest
        return nearest

    def trusts(self, text: str) -> bool:
        """Whether this address is one of our own proxies."""
        address = parse_address(text)
        return address is not None and any(
            address.version == block.version and address in block for block in self._trusted
        )


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address as text; of an IPv4 one in IPv6, the former. None when it is none."""
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
