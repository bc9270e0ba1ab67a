"""Which addresses an endpoint may have, in every spelling that an address has."""

import pytest

from backends.http.networks import AddressRule
from fastpath.settings import Settings

LOCAL = AddressRule(Settings().local_networks)
HOMES = [
    "127.0.0.1", "127.8.9.10", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "100.64.0.1", "100.127.255.254", "::1", "fc00::1", "fd12:3456::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1",
    "::ffff:7f00:1",
]  # fmt: skip
AWAY = [
    "8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.1", "192.167.255.255", "100.63.255.255", "100.128.0.0",
    "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::10.0.0.1", "64:ff9b::808:808", "64:ff9b:1::10.0.0.1",
    "2002:0a00:0001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "::10.0.0.1", "::127.0.0.1", "fec0::1",
    "11.0.0.0", "9.255.255.255", "128.0.0.1", "fe00::1", "fbff::1",
]  # fmt: skip
NOBODY = [
    "169.254.169.254", "169.254.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fe80::1", "fe80::1%eth0",
    "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16", "0.0.0.0", "::", "::ffff:0.0.0.0",
    "224.0.0.1", "255.255.255.255", "240.0.0.1", "ff02::1", "2002:a9fe:a9fe::1",
]  # fmt: skip
NONE = ["", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1 ", "[::1]", "10.0.0.1/8", "::g"]


@pytest.mark.parametrize("address", HOMES)
def test_what_is_local(address: str) -> None:
    assert LOCAL.objection([address]) is None


@pytest.mark.parametrize("address", [*AWAY, *NOBODY, *NONE])
def test_what_is_not(address: str) -> None:
    assert LOCAL.objection([address]) is not None
    assert LOCAL.objection(["10.0.0.1", address]) is not None, "one bad address spoils all"


@pytest.mark.parametrize("address", [*NOBODY, *NONE])
def test_where_nobody_is_no_endpoint_may_be(address: str) -> None:
    assert AddressRule().objection([address]) is not None
    assert AddressRule(public_only=True).objection([address]) is not None


@pytest.mark.parametrize("address", HOMES)
def test_a_host_that_is_not_the_admins_word_leads_into_no_private_network(address: str) -> None:
    assert AddressRule().objection([address]) is None
    assert AddressRule(public_only=True).objection([address]) is not None


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_what_is_public(address: str) -> None:
    assert AddressRule(public_only=True).objection([address]) is None


def test_the_admin_may_name_what_nobody_has() -> None:
    assert AddressRule(["169.254.7.0/24"]).objection(["169.254.7.1"]) is None
    assert AddressRule(["169.254.7.0/24"]).objection(["169.254.169.254"]) is not None
    assert AddressRule(["0.0.0.0/0"]).objection(["169.254.169.254"]) is not None, "all is not a name for it"
    assert AddressRule(["::ffff:10.0.0.0/104"]).objection(["10.1.2.3"]) is None
    assert AddressRule(["fe80::/10"]).objection(["fe80::1%eth0"]) is None


def test_no_network_is_no_place() -> None:
    assert AddressRule([]).objection(["127.0.0.1"]) is not None
