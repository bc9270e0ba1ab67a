"""The gateway itself, which measures how long its loop stands still: `/debug/requests` of the admin port tells.

A beat runs in every turn of the loop. Between two of them lies what one turn cost: in CPU of the loop's own thread,
which a busy machine does not lengthen, and in wall time, which it does.
"""

import asyncio
import time
from typing import Any

from fastpath.app import App


class ProbeApp(App):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._beating = asyncio.get_running_loop()
        self._worst_cpu = self._worst_wall = 0.0
        self._cpu, self._wall = time.thread_time(), time.perf_counter()
        self._beating.call_soon(self._beat)

    def _beat(self) -> None:
        cpu, wall = time.thread_time(), time.perf_counter()
        self._worst_cpu = max(self._worst_cpu, cpu - self._cpu)
        self._worst_wall = max(self._worst_wall, wall - self._wall)
        self._cpu, self._wall = cpu, wall
        self._beating.call_soon(self._beat)

    def debug_requests(self) -> list[dict[str, Any]]:
        """The longest turn since it was asked last."""
        version = self._pipeline.snapshot.version
        shown = {"version": version, "cpu_ms": self._worst_cpu * 1e3, "wall_ms": self._worst_wall * 1e3}
        self._worst_cpu = self._worst_wall = 0.0
        return [shown]


build = ProbeApp
