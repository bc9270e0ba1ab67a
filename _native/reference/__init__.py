"""Pure Python twins of the kernels: oracles for tests, never a fallback in production."""
