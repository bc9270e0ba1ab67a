"""From an address to the rules whose networks it is in. One dictionary access for each prefix length. Immutable."""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

_BITS = {4: 32, 16: 128}
_MAPPED = bytes(10) + b"\xff\xff"


class Networks:
    """Finds rules by address. blocks: (network in CIDR notation, rules)."""

    def __init__(self, blocks: Iterable[tuple[str, int]]) -> None:
        tables: dict[int, dict[int, dict[int, int]]] = {bits: {} for bits in _BITS.values()}
        for text, rules in blocks:
            network = unmapped(ip_network(text))
            drop = network.max_prefixlen - network.prefixlen
            table = tables[network.max_prefixlen].setdefault(drop, {})
            prefix = int(network.network_address) >> drop
            table[prefix] = table.get(prefix, 0) | rules
        self._tables = {bits: tuple(table.items()) for bits, table in tables.items()}

    def of(self, address: str) -> int:
        """The rules that name a network with this address; none for what is no address."""
        packed = pack(address)
        if packed is None:
            return 0
        number, found = int.from_bytes(packed, "big"), 0
        for drop, table in self._tables[_BITS[len(packed)]]:
            found |= table.get(number >> drop, 0)
        return found


def pack(address: str) -> bytes | None:
    """The bytes of an address, IPv4 inside IPv6 as IPv4; None for what is none."""
    bare = address.partition("%")[0]
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    try:
        packed = socket.inet_pton(family, bare)
    except (OSError, ValueError):  # ValueError: a NUL or what cannot be encoded
        return None
    return packed[12:] if packed.startswith(_MAPPED) and len(packed) == 16 else packed


def unmapped(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """IPv4 networks that are written as IPv6, as IPv4."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return IPv4Network((int(mapped), network.prefixlen - 96))
