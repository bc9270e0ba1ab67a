"""Seeded chaos under load, judged by the checker: kills, pauses, reloads, broken networks. `python -m loadtest.chaos`.

`kinds` says what can happen and what it permits, `schedule` when it happens, `stage` is what it happens to, `acts` how
it is done, `rest` what must be so before and after, `run` the whole of it.
"""
