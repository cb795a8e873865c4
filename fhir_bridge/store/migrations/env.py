"""What Alembic runs: the steps that are missing, on the connection it was given."""

from __future__ import annotations

from alembic import context

from fhir_bridge.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a table only by copying it
)
context.run_migrations()
