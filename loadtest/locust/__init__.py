"""Locust scenarios of real shapes, with latency objectives: `python -m loadtest.locust`.

`talk` is what a load is made of, `scenarios` the shapes, `user` and `swarm` the Locust side (gevent, in a process of
its own), `slo` the judgement, `course` one run of one scenario. Nothing here but `user` and `swarm` imports Locust.
"""
