"""The race: the CPU time that a proxy spends per request and per streamed chunk, as a ratio to another's.

The proxy under test runs on CPU 0, load and upstreams on CPU 1. Its own CPU time, from the kernel, is divided by what
it served. That is stable on a noisy machine where latency and throughput are not; figures compare only in one run.
"""
