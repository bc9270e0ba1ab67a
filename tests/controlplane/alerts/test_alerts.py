"""An alert is registered once, whoever tells it how often, and sent until somebody takes it."""

import asyncio
from os import urandom
from typing import Any

import msgspec
import pytest

from controlplane.access.principal import Principal
from controlplane.access.roles import Role
from controlplane.alerts.alerting import open_alerting
from controlplane.alerts.destinations import MOST
from controlplane.alerts.facts import fault_of
from controlplane.alerts.register import KEPT
from controlplane.alerts.shapes import DestinationDraft, DestinationEdits
from controlplane.alerts.webhook import sign
from controlplane.paging import Page
from controlplane.problem import Problem
from controlplane.secrets.seal import Keyring, MasterKey
from fastpath.identity.token.fetch import Answer, Ask, GuardedFetch
from fastpath.settings.control import Webhook
from fastpath.settings.secret import Secret
from tests.controlplane.alerts.conftest import ADMIN, PATIENCE, Office, alert
from tests.controlplane.alerts.receiver import Receiver


async def test_an_alert_is_taken_once_whoever_tells_it(office: Office) -> None:
    told = [alert(), alert(spent=9_000_000_000, ts=1_790_000_100.0), alert(percent=100), alert(period=20_728)]
    assert await office.register.take(told) == 3
    assert await office.register.take(told) == 0
    others = [{"budget": "x"}, {"owner": ("acme", "ops")}, {"tenant": "b"}, {"kind": "tokens"}, {"currency": "USD"}]
    assert await office.register.take([alert(**other) for other in others]) == len(others)


async def test_two_who_take_the_same_at_once_agree(office: Office) -> None:
    told = [alert(percent=percent, span="rolling", days=7) for percent in (50, 80, 100)]
    counts = await asyncio.gather(*(office.register.take(told) for _ in range(4)))
    assert sum(counts) == 3


async def test_a_rolling_budget_alerts_once_in_as_many_days_as_it_has(office: Office) -> None:
    async def take(day: int) -> int:
        return await office.register.take([alert(span="rolling", days=7, period=day)])

    assert [await take(day) for day in (100, 101, 106, 94, 107, 93, 108)] == [1, 0, 0, 0, 1, 1, 0]
    assert "1970-04-05" in {one.period_start for one in await office.alerts()}  # the week that ends with day 100


@pytest.mark.parametrize(
    "wrong",
    [
        {"percent": -1},
        {"period": 2_900_001},
        {"ts": 1e15},
        {"spent": -1},
        {"whole": 2**63},
        {"ts": float("nan")},
        {"ts": float("inf")},
        {"scope": "galaxy"},
        {"kind": "beer"},
        {"span": "year"},
        {"days": 0},
        {"action": "drop"},
        {"currency": "EURO"},
        {"budget": "a\0b"},
        {"owner": ("\ud800",)},
        {"tenant": "x" * 2_000},
    ],
)
def test_what_no_worker_would_write_is_no_alert(wrong: dict[str, Any]) -> None:
    assert fault_of(alert()) is None
    assert fault_of(alert(**wrong)) is not None


async def test_the_largest_that_is_sound_can_be_shown_and_sent(office: Office, receiver: Receiver) -> None:
    most = alert(percent=10_000, period=2_900_000, spent=2**62, whole=2**62, ts=86_400.0 * 2_900_000)
    least = alert(percent=0, period=0, days=31, span="rolling", spent=0, whole=0, ts=0.0, tenant="")
    assert [fault_of(one) for one in (most, least)] == [None, None]
    await office.send_to(receiver.url)
    assert await office.register.take([most, least]) == 2
    assert await office.courier().step() == 2
    assert {one.deliveries[0].state for one in await office.alerts()} == {"delivered"}


async def test_a_tenants_own_destination_never_leads_inside(
    office: Office, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even to a host that the operator allows: that word is for the operator's own destinations."""
    chief = Principal("1" * 32, "chief", Role.TENANT_ADMIN, tenant="acme")
    hook = Webhook(name="inside", url=receiver.url, secret=Secret("whsec_" + "A" * 44), tenant="acme")
    async with office.trail.change(ADMIN.actor) as change:
        await office.destinations._insert(change, "a" * 32, "api", hook, trusted=True)
    with pytest.raises(Problem, match="https"):
        await office.destinations.edit(chief, "a" * 32, DestinationEdits(url=f"{receiver.url}/debug"))
    await office.destinations.edit(chief, "a" * 32, DestinationEdits(name="other"))
    await office.register.take([alert(percent=50)])
    await office.courier().step()
    assert len(receiver.got) == 1, "the operator's word stands while the URL does"

    port = receiver.url.rpartition(":")[2]
    await office.destinations.edit(chief, "a" * 32, DestinationEdits(url=f"https://inside.example:{port}/debug"))
    asked: list[str] = []

    async def leads_inside(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    courier = office.courier()
    courier._fetch = courier._wary = GuardedFetch(leads_inside, frozenset({"inside.example"}))
    monkeypatch.setattr(courier, "_wary", GuardedFetch(leads_inside))
    await office.register.take([alert(percent=80)])
    await courier.step()
    assert asked == ["inside.example"]
    assert len(receiver.got) == 1
    shown = {one.percent: one.deliveries[0] for one in await office.alerts()}
    assert "allow_hosts" in shown[80].problem


async def test_a_tenant_has_so_many_destinations_and_no_more(office: Office) -> None:
    for number in range(MOST):
        await office.send_to("https://alerts.invalid/", f"d{number}")
    with pytest.raises(Problem, match="delete one first"):
        await office.send_to("https://alerts.invalid/", "one-more")


async def test_it_comes_signed_and_says_what_happened(office: Office, receiver: Receiver) -> None:
    secret = await office.send_to(f"{receiver.url}/hooks?of=money")
    await office.register.take([alert()])
    courier = office.courier()
    assert await courier.step() == 1
    (got,) = receiver.got
    assert got.is_signed_with(secret)
    assert not got.is_signed_with("whsec_" + "A" * 44)
    assert got.headers["content-type"] == "application/json"
    assert abs(int(got.timestamp) - office.now()) < 1
    (shown,) = await office.alerts()
    assert got.id == shown.webhook_id == f"alert_{shown.id}"
    assert got.data == {
        "tenant": "acme",
        "scope": "team",
        "owner": "acme/search",
        "budget": "monthly",
        "kind": "money",
        "currency": "EUR",
        "percent": 80,
        "action": "warn",
        "spent": "8.123456789",
        "amount": "10",
        "period": "month",
        "period_start": "2026-09-01",
    }
    assert [(one.state, one.tries, one.problem) for one in shown.deliveries] == [("delivered", 1, "")]
    assert await courier.step() == 0
    assert courier.counts.delivered == 1


async def test_it_is_tried_again_later_and_later_and_given_up(office: Office, receiver: Receiver) -> None:
    receiver.answer = lambda count: 500
    await office.send_to(receiver.url)
    await office.register.take([alert()])
    courier = office.courier()
    pauses = [PATIENCE.pause(tries, 1.0) for tries in range(1, PATIENCE.tries)]
    assert pauses == [10.0, 30.0, 90.0]
    assert await courier.step() == 1
    for pause in pauses:
        office.now.seconds += pause - 1
        assert await courier.step() == 0
        office.now.seconds += 1
        assert await courier.step() == 1
    office.now.seconds += 1e6
    assert await courier.step() == 0
    assert len({(got.id, got.body) for got in receiver.got}) == 1
    assert len({got.timestamp for got in receiver.got}) == len(receiver.got) == PATIENCE.tries
    ((delivery,),) = [one.deliveries for one in await office.alerts()]
    assert (delivery.state, delivery.tries, delivery.problem) == ("dead", 4, "it answered 500")
    assert (courier.counts.failed, courier.counts.dead) == (3, 1)

    receiver.answer = lambda count: 200
    (shown,) = await office.alerts()
    assert (await office.register.resend(ADMIN, shown.id)).deliveries == 1
    assert await courier.step() == 1
    ((delivery,),) = [one.deliveries for one in await office.alerts()]
    assert delivery.state == "delivered"
    assert (await office.register.resend(ADMIN, shown.id)).deliveries == 0


def test_pauses_grow_to_a_bound_and_half_of_each_is_chance() -> None:
    assert PATIENCE.pause(1, 0.0) == 5.0
    assert PATIENCE.pause(10_000, 1.0) == PATIENCE.longest


@pytest.mark.parametrize(("status", "state"), [(410, "dead"), (307, "waiting"), (404, "waiting"), (204, "delivered")])
async def test_what_an_answer_means(office: Office, receiver: Receiver, status: int, state: str) -> None:
    receiver.answer = lambda count: status
    await office.send_to(receiver.url)
    await office.register.take([alert()])
    await office.courier().step()
    assert len(receiver.got) == 1, "a redirect is not followed"
    ((delivery,),) = [one.deliveries for one in await office.alerts()]
    assert delivery.state == state


async def test_a_courier_that_dies_after_sending_sends_the_same_again(office: Office, receiver: Receiver) -> None:
    await office.send_to(receiver.url)
    await office.register.take([alert()])
    real = office.courier()

    async def sent_and_killed(ask: Ask, /) -> Answer:
        await real._fetch(ask)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await office.courier(sent_and_killed).step()
    assert await real.step() == 0, "somebody may still be at it"
    office.now.seconds += PATIENCE.claim
    assert await real.step() == 1
    assert len(receiver.got) == 2
    assert len({got.id for got in receiver.got}) == 1


async def test_of_two_couriers_one_sends(office: Office, receiver: Receiver) -> None:
    await office.send_to(receiver.url)
    await office.register.take([alert(percent=percent) for percent in range(1, 9)])
    counts = await asyncio.gather(*(office.courier().step() for _ in range(3)))
    assert sum(counts) == 8
    assert len({got.id for got in receiver.got}) == len(receiver.got) == 8


async def test_each_destination_gets_what_is_its_own(office: Office) -> None:
    with Receiver() as everything, Receiver() as of_acme:
        hooks = [
            Webhook(name="all", url=everything.url, secret=Secret("whsec_" + "A" * 44)),
            Webhook(name="acme", url=of_acme.url, secret=Secret("whsec_" + "B" * 44), tenant="acme"),
        ]
        await office.destinations.take_file(hooks)
        await office.register.take([alert(), alert(tenant="other")])
        while await office.courier().step():
            pass
        assert sorted(got.data["tenant"] for got in everything.got) == ["acme", "other"]
        assert [got.data["tenant"] for got in of_acme.got] == ["acme"]
        assert of_acme.got[0].is_signed_with("whsec_" + "B" * 44)


async def test_the_settings_file_keeps_its_own_destinations(office: Office, receiver: Receiver) -> None:
    hook = Webhook(name="all", url="http://127.0.0.1:9", secret=Secret("whsec_" + "A" * 44))
    await office.destinations.take_file([hook])
    await office.register.take([alert()])
    await office.destinations.take_file([hook])
    (view,) = (await office.destinations.list(ADMIN, Page())).data
    assert (view.owner, view.url) == ("file", hook.url)
    with pytest.raises(Problem, match="settings file"):
        await office.destinations.delete(ADMIN, view.id)
    moved = msgspec.structs.replace(hook, url=receiver.url, secret=Secret("whsec_" + "C" * 44))
    await office.destinations.take_file([moved])
    await office.courier().step()
    assert receiver.got[0].is_signed_with("whsec_" + "C" * 44)
    await office.register.take([alert(percent=100)])
    await office.destinations.take_file([])
    assert await office.courier().step() == 0
    assert {one.deliveries[0].state for one in await office.alerts()} == {"delivered", "dead"}


async def test_nothing_private_is_reached_unless_the_operator_named_it(office: Office, receiver: Receiver) -> None:
    await office.send_to(receiver.url)
    await office.register.take([alert()])
    await office.courier(None, "elsewhere.example").step()
    assert receiver.got == []
    ((delivery,),) = [one.deliveries for one in await office.alerts()]
    assert "allow_hosts" in delivery.problem

    narrow = office.destinations_for("elsewhere.example")
    for url in ("http://example.com/x", "https://10.0.0.1/", "https://[::1]/", "https://169.254.169.254/", "ftp://x"):
        with pytest.raises(Problem):
            await narrow.create(ADMIN, _draft(url))
    assert (await narrow.create(ADMIN, _draft("https://example.com/x?y=1"))).destination.url.endswith("?y=1")


async def test_a_name_that_resolves_to_a_private_address_is_not_asked(office: Office, receiver: Receiver) -> None:
    """Judged when it is asked, every time: a name can lead elsewhere tomorrow."""

    async def rebound(host: str) -> list[str]:
        return ["93.184.216.34", "127.0.0.1"]

    port = receiver.url.rpartition(":")[2]
    await office.send_to(f"https://rebound.example:{port}/")
    await office.register.take([alert()])
    await office.courier(GuardedFetch(rebound)).step()
    assert receiver.got == []
    ((delivery,),) = [one.deliveries for one in await office.alerts()]
    assert delivery.problem.startswith("rebound.example was not asked")


async def test_a_tenant_sees_its_own_and_a_new_master_key_opens_its_secret(office: Office, receiver: Receiver) -> None:
    secret = await office.send_to(receiver.url)
    await office.register.take([alert(), alert(tenant="f" * 32)])
    chief = Principal("1" * 32, "chief", Role.TENANT_ADMIN, tenant="f" * 32)
    (mine,) = await office.alerts(chief)
    assert mine.tenant == "f" * 32
    assert mine.deliveries == [], "who else is told is not its business"
    foreign = next(one for one in await office.alerts() if one.tenant == "acme")
    with pytest.raises(Problem):
        await office.register.get(chief, foreign.id)
    assert (await office.register.resend(chief, mine.id)).deliveries == 0
    with pytest.raises(Problem, match="Only an admin"):
        await office.destinations.create(chief, _draft("https://example.com"))

    new = MasterKey(urandom(32))
    old = office.vault._keyring.current
    done = await office.vault.rotate(ADMIN.actor, Keyring([new, old]))
    assert (done.resealed, done.left) == (1, 0)
    await office.vault.rotate(ADMIN.actor, Keyring([new]))
    await office.courier().step()
    assert receiver.got[0].is_signed_with(secret)


async def test_a_deleted_destination_gets_nothing_more(office: Office, receiver: Receiver) -> None:
    await office.send_to(receiver.url)
    await office.register.take([alert()])
    (view,) = (await office.destinations.list(ADMIN, Page())).data
    await office.destinations.delete(ADMIN, view.id)
    await office.register.take([alert(percent=100)])
    assert await office.courier().step() == 0
    shown = {one.percent: one for one in await office.alerts()}
    assert shown[100].deliveries == []
    first = shown[80]
    assert (first.deliveries[0].state, first.deliveries[0].problem) == ("dead", "its destination was deleted")
    assert (await office.register.resend(ADMIN, first.id)).deliveries == 0
    await office.send_to(receiver.url)  # the name is free again


def test_a_standard_receiver_would_take_it() -> None:
    """The vector of the Standard Webhooks specification's reference libraries."""
    headers = sign(
        Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        b'{"test": 2432232314}',
    )
    assert dict(headers)["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def _draft(url: str) -> DestinationDraft:
    return DestinationDraft(name="x", url=url)


async def test_old_alerts_go_with_their_deliveries_and_younger_ones_stay(office: Office, receiver: Receiver) -> None:
    await office.send_to(receiver.url)
    await office.register.take([alert(percent=50)])
    office.now.seconds += KEPT - 10
    await office.register.take([alert(percent=80)])
    assert await office.register.prune() == 0
    office.now.seconds += 20
    assert await office.register.prune() == 1
    assert [one.percent for one in await office.alerts()] == [80]
    assert await office.courier().step() == 1
    assert await office.register.prune() == 0


async def test_without_a_settings_file_its_destinations_stay(office: Office) -> None:
    hook = Webhook(name="all", url="https://alerts.invalid/", secret=Secret("whsec_" + "A" * 44))
    for of_file, left in (([hook], 1), (None, 1), ([], 0)):
        async with open_alerting(office.database, office.trail, office.vault, office.now, (), of_file) as alerting:
            assert len((await alerting.destinations.list(ADMIN, Page())).data) == left
