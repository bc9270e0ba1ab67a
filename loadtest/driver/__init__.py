"""The load driver: chat requests over raw sockets, some of whose clients leave early.

lines = await run(Load("http://127.0.0.1:8340/v1", 10_000, 64, seed=1, cancel_ratio=0.3), SystemClock())
"""

from loadtest.driver.plan import Load, Plan, draw
from loadtest.driver.run import run

__all__ = ["Load", "Plan", "draw", "run"]
