"""The other APIs with the official client, and those it does not know over plain HTTP: equal through the gateway."""

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 64
TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}, "strict": False}
MESSAGE = {"model": "llama", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
UPLOAD = 5 * 1024 * 1024


class Place(BaseModel):
    city: str


def streamed(side: Any, api: Any, **asked: Any) -> list[Any]:
    return list(api.create(model="llama", stream=True, **asked))


async def streamed_async(api: Any, **asked: Any) -> list[Any]:
    return [event async for event in await api.create(model="llama", stream=True, **asked)]


def speak(side: Any, form: str) -> Any:
    sound = side.client.audio.speech.create(model="llama", voice="alloy", input="hello", response_format=form)
    return sound.content, sound.response.headers["content-type"]


def speak_open(side: Any) -> Any:
    speech = side.client.audio.speech.with_streaming_response
    with speech.create(model="llama", voice="alloy", input="hi " * 40_000) as response:
        return b"".join(response.iter_bytes()), response.headers["content-type"]


def transcribe(side: Any, form: str) -> Any:
    return side.client.audio.transcriptions.create(model="llama", file=("a.wav", PNG), response_format=form)


def stream_responses(side: Any, **more: Any) -> Any:
    with side.client.responses.stream(model="llama", input="hello", **more) as events:
        return list(events), events.get_final_response()


def edit(side: Any) -> Any:
    pictures = [("a.png", PNG, "image/png"), ("b.png", PNG[::-1], "image/png")]
    return side.client.images.edit(model="llama", prompt="a fox", image=pictures, n=2)


def post(side: Any, path: str, body: dict[str, Any], **headers: str) -> Any:
    response = side.http.post(path, json=body, headers=headers)
    kind = response.headers["content-type"]
    lines = response.text.splitlines()
    data = [json.loads(line[6:]) if line.startswith("data: ") else line for line in lines]
    return response.status_code, {"content-type": kind}, data if "event-stream" in kind else response.json()


def post_as_anthropic(side: Any, path: str, body: dict[str, Any]) -> Any:
    """With the credential where clients of that dialect put it."""
    headers = {"authorization": "", "x-api-key": side.key, "anthropic-version": "2023-06-01"}
    request = side.http.build_request("POST", path, json=body, headers=headers)
    del request.headers["authorization"]
    response = side.http.send(request)
    return response.status_code, response.json()


Q = {"model": "llama", "query": "red fox", "documents": ["a red fox", {"text": "a blue owl"}, "nothing"], "top_n": 2}

TABLE: dict[str, Callable[[Any], Any]] = {
    "completions": lambda s: s.client.completions.create(model="llama", prompt="one"),
    "completions, async": lambda s: s.wait(s.aio.completions.create(model="llama", prompt="one")),
    "completions, prompts": lambda s: s.client.completions.create(model="llama", prompt=["one", "two"], n=2),
    "completions, echo, logprobs": lambda s: s.client.completions.create(
        model="llama", prompt="say", echo=True, logprobs=1
    ),
    "completions, tokens": lambda s: s.client.completions.create(model="llama", prompt=[[1, 2, 3], [4]]),
    "completions, stop, seed": lambda s: s.client.completions.create(model="llama", prompt="x", stop="e", seed=3),
    "completions, stream": lambda s: streamed(s, s.lenient().completions, prompt="one"),
    "completions, stream with usage": lambda s: streamed(
        s, s.lenient().completions, prompt=["one", "two"], stream_options={"include_usage": True}
    ),
    "embeddings, float": lambda s: s.client.embeddings.create(model="llama", input="one", encoding_format="float"),
    "embeddings, async": lambda s: s.wait(s.aio.embeddings.create(model="llama", input="one", encoding_format="float")),
    "embeddings, base64": lambda s: s.lenient().embeddings.create(
        model="llama", input=["one", "two"], encoding_format="base64"
    ),
    "embeddings, the client's own choice": lambda s: s.lenient().embeddings.create(model="llama", input="one"),
    "embeddings, dimensions": lambda s: s.client.embeddings.create(
        model="llama", input="one", dimensions=1536, encoding_format="float"
    ),
    "embeddings, tokens": lambda s: s.client.embeddings.create(
        model="llama", input=[[1, 2], [3]], encoding_format="float"
    ),
    "responses": lambda s: s.client.responses.create(model="llama", input="hello", instructions="be kind"),
    "responses, async": lambda s: s.wait(s.aio.responses.create(model="llama", input="hello")),
    "responses, raw": lambda s: s.client.responses.with_raw_response.create(model="llama", input="hello").parse(),
    "responses, stream": lambda s: streamed(s, s.client.responses, input="hello"),
    "responses, async stream": lambda s: s.wait(streamed_async(s.aio.responses, input="hello")),
    "responses, stream helper": stream_responses,
    "responses, parse": lambda s: s.client.responses.parse(model="llama", input="hello", text_format=Place),
    "responses, tools": lambda s: s.client.responses.create(model="llama", input="hello", tools=[TOOL]),
    "responses, tools, stream": lambda s: streamed(s, s.client.responses, input="hello", tools=[TOOL]),
    "responses, cut by the limit": lambda s: s.client.responses.create(
        model="llama", input="hello", max_output_tokens=2
    ),
    "moderations": lambda s: s.client.moderations.create(model="llama", input=["a nice day", "kill it"]),
    "moderations, async": lambda s: s.wait(s.aio.moderations.create(model="llama", input="kill it")),
    "images": lambda s: s.client.images.generate(model="llama", prompt="a fox", n=2),
    "images, edit": edit,
    "speech": lambda s: speak(s, "wav"),
    "speech, bare samples": lambda s: speak(s, "pcm"),
    "speech, with_streaming_response": speak_open,
    "transcriptions": lambda s: transcribe(s, "json"),
    "transcriptions, verbose": lambda s: transcribe(s, "verbose_json"),
    "transcriptions, subtitles": lambda s: transcribe(s, "srt"),
    "rerank": lambda s: post(s, "rerank", Q),
    "messages": lambda s: post(s, "messages", MESSAGE),
    "messages, system and tools": lambda s: post(
        s, "messages", MESSAGE | {"system": "be kind", "tools": [{"name": "weather", "input_schema": {}}]}
    ),
    "messages, stream": lambda s: post(s, "messages", MESSAGE | {"stream": True}),
    "messages, x-api-key": lambda s: post_as_anthropic(s, "messages", MESSAGE),
    "messages, count_tokens": lambda s: post(s, "messages/count_tokens", MESSAGE),
    "messages, refused": lambda s: post(
        s, "messages", MESSAGE | {"tools": [{"name": "weather", "input_schema": {"$ref": "#/none"}}]}
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_equal(both: Callable[..., Any], name: str) -> None:
    assert both(TABLE[name], patched=name == "completions, stream")


def test_models_are_listed_under_the_names_the_gateway_gives_them(through: Any, direct: Any) -> None:
    """The list is the gateway's own: what this key may use, `alias` among it. Shape and `llama` are the same."""
    listed, straight = through.client.models.list(), direct.client.models.list()
    assert [model.id for model in listed] == ["llama", "alias"]
    assert listed.object == straight.object
    assert listed.data[0].model_dump().keys() == straight.data[0].model_dump().keys()
    assert listed.data[0] == through.client.models.retrieve("llama")
    assert through.wait(through.aio.models.retrieve("alias")).object == direct.client.models.retrieve("llama").object


def test_a_file_of_5_mib_reaches_the_model_server_byte_for_byte(
    both: Callable[..., Any], model_server: Any, through: Any
) -> None:
    """The boundary is the same both times, so the whole form can be compared."""
    data = hashlib.shake_128(b"sound").digest(UPLOAD)
    fields = b'--cut\r\ncontent-disposition: form-data; name="model"\r\n\r\nllama\r\n'
    file = b'--cut\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + data + b"\r\n--cut--\r\n"
    pieces = [fields, *(file[at : at + 65_536] for at in range(0, len(file), 65_536))]

    def run(side: Any) -> Any:
        headers = {"content-type": "multipart/form-data; boundary=cut"}
        response = side.http.post("audio/transcriptions", content=iter(pieces), headers=headers)
        return response.status_code, response.json()

    assert both(run)[0] == 200
    record = model_server.records()[-1]
    assert record["sha256"] == hashlib.sha256(fields + file).hexdigest()
    assert record["body_length"] == len(fields + file)


def test_a_renamed_model_is_the_only_change_to_a_body(model_server: Any, through: Any) -> None:
    body = b'{ "x" : [1.0, 1e400, "\\u00e9"], "model":\t"alias", "messages":[{"role":"user","content":"alias"}]}'
    model_server.reset()
    answer = through.http.post("chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200
    renamed = body.replace(b'"alias"', b'"llama"', 1)
    assert model_server.records()[0]["sha256"] == hashlib.sha256(renamed).hexdigest()


def test_a_strange_but_valid_body_arrives_as_it_is(model_server: Any, through: Any) -> None:
    body = b'\r\n{"messages":[{"role":"user","content":"hi"}],"n":1,"z":[1.10,-0,{"":"\\/"}],"model":"llama","a":1e2}\n'
    model_server.reset()
    answer = through.http.post("chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200
    assert model_server.records()[0]["sha256"] == hashlib.sha256(body).hexdigest()


def test_fifty_at_once_each_get_their_own_answer(both: Callable[..., Any]) -> None:
    async def one(client: Any, number: int) -> Any:
        asked = {"model": "llama", "messages": [{"role": "user", "content": f"number {number}"}]}
        if number % 2:
            return await client.chat.completions.create(**asked)
        options = {"include_usage": True}
        return [chunk async for chunk in await client.chat.completions.create(
            **asked, stream=True, stream_options=options, extra_body={"mock": {"ttft": 0.1, "rate": 100}})]  # fmt: skip

    async def all_of(client: Any) -> list[Any]:
        return await asyncio.gather(*(one(client, number) for number in range(50)))

    def run(side: Any) -> Any:
        return [strip_ids(answer) for answer in side.wait(all_of(side.aio))]

    answers = both(run, requests=(50, 50))
    assert len({json.dumps(answer) for answer in answers}) == 50


def strip_ids(answer: Any) -> Any:
    chunks = answer if isinstance(answer, list) else [answer]
    ids = {chunk.id for chunk in chunks}
    assert len(ids) == 1
    return [chunk.model_dump(mode="json", exclude={"id"}, exclude_unset=True) for chunk in chunks]


def test_vectors_are_the_same_in_either_coding(through: Any) -> None:
    asked = {"model": "llama", "input": "one", "dimensions": 3}
    plain = through.http.post("embeddings", json=asked | {"encoding_format": "float"}).json()["data"][0]["embedding"]
    coded = through.http.post("embeddings", json=asked | {"encoding_format": "base64"}).json()["data"][0]["embedding"]
    assert len(base64.b64decode(coded)) == 4 * len(plain)
