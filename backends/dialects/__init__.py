"""Wire schemas (msgspec) and pure functions over them, one module per dialect family. No I/O."""
