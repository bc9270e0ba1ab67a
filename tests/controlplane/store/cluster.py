"""The PostgreSQL server of these tests: the one that load tests start, too."""

from loadtest.postgres import PATIENCE, ROLE, SUPERUSER, Cluster, binaries

__all__ = ["PATIENCE", "ROLE", "SUPERUSER", "Cluster", "binaries"]
