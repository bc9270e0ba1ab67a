"""What Alembic runs to migrate: on the connection, and in the transaction, that `store.schema` hands it."""

from alembic import context

from controlplane.store.metadata import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,  # SQLite can, and its driver no longer commits behind our back
    transaction_per_migration=False,
    render_as_batch=True,  # SQLite changes a column only by copying its table
)
with context.begin_transaction():
    context.run_migrations()
