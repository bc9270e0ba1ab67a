"""What stands on the machine while something is measured: model servers, proxies, the gateway, its callers.

Everything is started on free ports of the loopback in a folder of the run, pinned to a CPU, and ended by its starter.
The proxy under test has CPU 0 to itself; load and model servers share CPU 1.
"""

PROXY_CPU = 0
LOAD_CPU = 1
