"""Added latency in an open loop: what a proxy puts on top of a direct connection, at shares of its peak.

Requests are due at Poisson (or constant) times and their latency counts from then, so that a queue shows. Direct,
through haproxy and through Fastpath are measured one after the other at one rate; what is added is the difference.
"""
