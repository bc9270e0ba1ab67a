"""Publishing: what the database says, compiled and signed for the data plane."""
