"""One line of schema changes, read by Alembic from these files. A file that was released is never edited."""
