"""The ledger under kills: thousands of requests that go wrong in every way, workers killed at random, and then the sum.

Owns what is sent, who is killed when, the rest afterwards, and what is taken out of the books for the checker. Does not
judge (`loadtest.checker`).
"""
