"""J3: at rest nothing is held: no lease and no place in the arena, no reservation there or in the books.

Pure function of the history.
"""

from loadtest.checker.history import History, Violation


def check(history: History) -> list[Violation]:
    """The violations of J3."""
    if history.accounts is None:
        return []
    held = history.accounts.held
    arena = {"leases": held.leases, "places": held.places, "nano-units or tokens reserved": held.reserved}
    books = {"requests open": held.open, "nano-units set aside": held.open_reserved}
    return [
        Violation(where, f"{count} {what}")
        for where, counts in (("arena", arena), ("books", books))
        for what, count in counts.items()
        if count
    ]
