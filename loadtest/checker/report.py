"""How a verdict is shown: one line for each promise, and below it who broke it."""

from collections.abc import Iterable, Mapping

from loadtest.checker.history import Violation


def show_violations(titles: Mapping[str, str], violations: Iterable[tuple[str, Violation]], most: int) -> None:
    """titles: by the name of the invariant; violations: each with that name; at most so many of one are listed."""
    broken = list(violations)
    for name, title in titles.items():
        found = [violation for invariant, violation in broken if invariant == name]
        print(f"{name:4} {f'{len(found)} violations' if found else 'held':>16}  {title}")
        for violation in found[:most]:
            print(f"     {violation.record}: {violation.reason}")
