"""Run by Alembic: applies the scripts over the connection, and inside the transaction, it was handed."""

from alembic import context

from edgeward.database.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True
)
context.run_migrations()
