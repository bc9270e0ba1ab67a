"""How many callers notice when model servers die, hang, slow down or fail: `python -m loadtest.resilience`.

`stage` is what runs, `load` asks at a steady rate, `acts` does the faults, `share` says how sure a share of successes
is. Unlike `loadtest.chaos`, which looks for what must never happen, this counts what may happen, but rarely.
"""
