"""The mock model server: a model server in the OpenAI and Anthropic dialects without a model behind it.

People rehearse with it (`fastpath mock`, `python -m backends.mock`) and every test of the gateway leans on it.

    options = MockOptions(models=("llama",), ttft=0.2, rate=50.0)
    server = MockServer(options, SystemClock())
    port = await server.start()                      # 127.0.0.1, a free port
    server.script([Fault(status=500), Fault()], times=2)
    ...
    await server.wait_records(1)                     # server.records: one Record per request, newest last
    await server.close()

Answers are a function of the prompt and the seeds alone, so two runs give the same bytes but for ids and times.
A fault comes with one request (top-level body field `"mock": {...}`, form field `mock`), or for the next requests
(`server.script`, `POST /mock/script`). `GET /mock/records` and `POST /mock/reset` serve tests in other processes.

Owns: sockets, pacing, the scripted faults, the record of what was received, sent and charged.
Does not own: anything the gateway decides; it imports nothing of it.
Concurrency: one event loop (asyncio or uvloop), one task per request, nothing is shared between loops.
"""

from backends.mock.fault import Fault
from backends.mock.options import DEMO, MockOptions
from backends.mock.record import Record
from backends.mock.server import MockServer

__all__ = ["DEMO", "Fault", "MockOptions", "MockServer", "Record"]
