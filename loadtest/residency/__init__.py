"""Whether data leaks: thousands of requests that must stay home against a gateway with nowhere at home to send them.

`order` makes the requests, `traps` stands where they must not arrive, `gateway` is the gateway's process with its walls
up or down, `run` puts them together and judges. `python -m loadtest.residency`, or `make residency`.
"""
