"""The limit stage: whether a caller may make this request now, by limits per time, places and budgets.

    book       settings -> plans, one for each (key, model) that is met
    plan       what applies to one key and model, and how the arena counts it
    calendar   which day or month a budget is in
    admission  admit(plan, ...) -> Ticket or Rejection; settling
    thresholds what happens when so much of a budget is spent
    refusal    a Rejection in the caller's words
    seeding    what a ledger remembers and a new arena does not
    meters     x-ratelimit-* headers

All synchronous, nothing waits. All counting is in the arena (`_native.limiter`), exact over the workers of a node.
"""
