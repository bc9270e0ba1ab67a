"""Which addresses an endpoint may have: what is looked at when a connection is opened, each time.

Owns the judgement of addresses. A tier is the admin's word for a place, so a host of tier L0 or L1 must be in the
networks that the admin calls local, whatever its name leads to today; and nothing that a name leads to is a cloud's
metadata service. Pure, immutable.
"""

from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: No model server is here: link-local, metadata services of clouds, this host, groups, what is reserved. A network of
#: the admin counts here only if it is wholly one of these.
_NEVER: Final = tuple(
    ip_network(block)
    for block in (
        *("169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32", "fd00:ec2::254/128"),
        *("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128", "fe80::/10", "fec0::/10", "ff00::/8"),
    )
)
_PRIVATE: Final = tuple(
    ip_network(block)
    for block in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "::1/128", "fc00::/7"),
        *("192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"),
    )
)
_NAT64: Final = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
_GLOBAL_UNICAST: Final = ip_network("2000::/3")


class AddressRule:
    """networks: where all addresses must be; None: anywhere but where nobody is. public_only: in no private network."""

    def __init__(self, networks: Sequence[str] | None = None, *, public_only: bool = False) -> None:
        """networks in CIDR notation. Raises ValueError for what is none."""
        blocks = [_plain_network(ip_network(text)) for text in networks or ()]
        self._named = [block for block in blocks if any(_inside(block, never) for never in _NEVER)]
        self._local = blocks if networks is not None else None
        self._public_only = public_only

    def objection(self, addresses: Collection[str]) -> str | None:
        """Why a host with these addresses is not connected to; None when it may be. One bad one spoils all."""
        for text in addresses:
            why = self._judge(text)
            if why is not None:
                return f"{text[:64]} {why}"
        return None

    def _judge(self, text: str) -> str | None:
        try:
            address = ip_address(text)
        except ValueError:
            return "is no address"
        if isinstance(address, IPv6Address):
            address = IPv6Address(int(address)) if address.scope_id else address
            address = address.ipv4_mapped or address
        hidden = _hidden(address)
        if any(_within(each, _NEVER) and not _within(each, self._named) for each in (address, hidden) if each):
            return "is link-local, a metadata service, or nobody's"
        if self._local is not None:
            # What is translated on the way ends elsewhere than it says, so an address inside another one is not local.
            return None if hidden is None and _within(address, self._local) else "is in none of local_networks"
        if self._public_only and not _is_public(hidden or address):
            return "is in a private network"
        return None


def _hidden(address: Address) -> IPv4Address | None:
    """The IPv4 address that packets to an IPv6 address end at: NAT64, 6to4, Teredo, and the old compatible form."""
    if isinstance(address, IPv4Address):
        return None
    if _within(address, _NAT64) or 1 < int(address) < 1 << 32:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour or (address.teredo[1] if address.teredo is not None else None)


def _is_public(address: Address) -> bool:
    if _within(address, _PRIVATE):
        return False
    return isinstance(address, IPv4Address) or address in _GLOBAL_UNICAST


def _within(address: Address, blocks: Collection[Network]) -> bool:
    return any(address.version == block.version and address in block for block in blocks)


def _inside(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner.network_address in outer and inner.prefixlen >= outer.prefixlen


def _plain_network(network: Network) -> Network:
    """An IPv4 network that is written as IPv6, as IPv4."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return IPv4Network((int(mapped), network.prefixlen - 96))
