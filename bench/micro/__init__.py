"""Kernels against their pure twins, in one process and turn by turn, so that the machine's noise meets both alike.

One file per kernel that has a twin in _native/reference; inputs are those of the race. What the door writes cannot be
called from Python by itself: bench.gates.instructions counts it.
"""
