"""One limit for several nodes: each works by a part of it, which the node's supervisor fetches before it is used up.

    lease    what one node holds of one limit, and how it gives back (pure)
    roster   settings -> the limits and budgets that are shared
    rows     how a rate, a limit of places and a budget are counted in the arena, and given a part
    script   the other side, in Redis: who holds how much (Lua)
    redis    calls that script, within a budget of time
    memory   what a node must know when it starts while Redis is away
    keeper   all of it, four times a second

No worker comes here: what it may use lies in the arena (`fastpath.limits.parts`). docs/adr/0011 says why it is so.
"""
