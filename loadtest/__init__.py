"""Load and fault benches of the project. Not shipped in the wheel: run from the repository root."""
