"""Measurements of what Fastpath costs, each as a ratio to, or a difference from, other proxies in the same run.

`python -m bench.run` is the race (`e2e`); `slo`, `memory`, `scale` and `overload` are its neighbours; `report` draws
them. `micro` times kernels against their twins, `gates` hold what was reached, `replay` runs requests without sockets.
`stage` and `load` are what they share: processes pinned to CPUs, and the load on them.
"""
