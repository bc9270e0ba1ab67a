"""The processes of one node: a supervisor that execs workers, the channel between them, and the admin port."""
