"""How many requests of one model run in this worker now: a number that a request holds on to and need not look up.

Owned by `Runtime`, which has one for each model that was asked for. One event loop.
"""


class Running:
    """One model's. count: requests."""

    def __init__(self) -> None:
        self.count = 0
