"""Compiled kernels. Each has a pure twin in `_native.reference`, the oracle of its property tests."""
