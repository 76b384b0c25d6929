"""Alembic's environment: runs the steps on the connection that ``schema.upgrade`` hands over, in its transaction."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, render_as_batch=True)
context.run_migrations()
