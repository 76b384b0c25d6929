"""Services get a time limit of their own."""

import sqlalchemy as sa
from alembic import op

revision = "be8ecf03ddac"
down_revision = "4621fec11365"


def upgrade() -> None:
    with op.batch_alter_table("services") as batch:
        batch.add_column(sa.Column("timeout", sa.Integer, nullable=False, server_default="30"))
    with op.batch_alter_table("services") as batch:
        batch.alter_column("timeout", server_default=None)
