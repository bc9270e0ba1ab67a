"""The relay stage: attempts on endpoints until one answers, and the answer's way to the caller."""
