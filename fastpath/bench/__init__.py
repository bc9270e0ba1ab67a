"""`fastpath bench`: measures any OpenAI-compatible endpoint by the answers it streams.

    command -> session -> runner -> Answer (one per request) -> tally -> result -> report, plot

Owns what a load is, when its requests go out, what is read from their answers and how that is told. Does not own the
wire: requests travel over `backends.http`, as the gateway's do. Nothing is imported here, so that `fastpath --help`
stays quick.
"""
