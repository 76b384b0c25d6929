"""JupyterHub 5: shares, share codes, and roles that an authenticator manages."""

import sqlalchemy as sa
from alembic import op

from jupyterhub.hub.store import tables as t

revision = "4621fec11365"
down_revision = "3c2384c5aae1"


def upgrade() -> None:
    for table in ("roles", "user_role_map", "group_role_map", "service_role_map"):
        # A column that may not be null needs a value for the rows that are there. It gets one as a server default,
        # which is taken away again so that the schema is the one that a new database has.
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column("managed_by_auth", sa.Boolean, nullable=False, server_default=sa.false()))
        with op.batch_alter_table(table) as batch:
            batch.alter_column("managed_by_auth", server_default=None)
    t.metadata.create_all(op.get_bind(), tables=[t.shares, t.share_codes])
