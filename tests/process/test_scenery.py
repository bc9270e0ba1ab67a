"""What a control process is told of the file's models and of endpoints: once, when it changed, and to each new one."""

import msgspec

from backends.watch.report import Report, State
from fastpath.liaison import Asked, Noted, SceneShown, Told, encode
from fastpath.process.liaison import NoAnswer
from fastpath.process.scenery import Scenery
from fastpath.settings import Endpoint, Model, Settings
from fastpath.settings.secret import Secret

CANARY = "sk-canary-of-a-file"


class Child:
    url = "http://127.0.0.1:1"

    def kill_hung(self) -> None:
        raise AssertionError("nobody may be killed for this")


class Control:
    """Notes what it is told; deaf for a while, if need be."""

    def __init__(self) -> None:
        self.heard: list[SceneShown] = []
        self.deaf = False

    async def ask(self, question: Asked, within: float) -> Told:
        if self.deaf:
            raise NoAnswer("deaf")
        assert isinstance(question, SceneShown)
        self.heard.append(question)
        return Noted()


def settings() -> Settings:
    endpoint = Endpoint(url="http://10.0.0.1/v1", api_key=Secret(CANARY), tier="L1", region="eu")
    return Settings(models=(Model(name="filed", endpoints=(endpoint,)),), data_class="P0")


async def test_it_is_told_once_and_again_when_something_changed() -> None:
    child, control = Child(), Control()
    problem = ""
    scenery = Scenery(child, control, lambda: problem)
    file, well = settings(), Report("filed", "10.0.0.1:80", State.RUNNING, since=5.0)
    await scenery.look(None, [])
    assert control.heard == []
    for _ in range(3):
        await scenery.look(file, [well])
    (scene,) = control.heard
    assert (scene.data_class, scene.local_networks) == ("P0", file.local_networks)
    assert [model.name for model in scene.models] == ["filed"]
    said = {"name": "10.0.0.1", "has_key": True, "url": "http://10.0.0.1/v1", "tier": "L1", "region": "eu"}
    assert said.items() <= (scene.models[0].endpoints[0] | {"name": "10.0.0.1"}).items()
    assert (scene.states[0].state, scene.states[0].since) == ("Running", 5.0)
    assert CANARY.encode() not in encode(scene)
    await scenery.look(file, [msgspec.structs.replace(well, state=State.FAILED, message="no")])
    assert control.heard[-1].states[0].message == "no"
    problem = "refused"
    await scenery.look(file, [well])
    assert (len(control.heard), control.heard[-1].problem) == (3, "refused")


async def test_a_new_process_at_the_same_place_and_one_that_was_deaf_are_told() -> None:
    child, control = Child(), Control()
    scenery = Scenery(child, control, lambda: "")
    file = settings()
    control.deaf = True
    await scenery.look(file, [])
    control.deaf = False
    await scenery.look(file, [])
    assert len(control.heard) == 1
    child.url = ""
    await scenery.look(file, [])
    child.url = Child.url
    await scenery.look(file, [])
    assert len(control.heard) == 2
