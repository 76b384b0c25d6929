"""Servers have a label beside their name."""

import sqlalchemy as sa
from alembic import op

revision = "f460b0348206"
down_revision = "ff1860e38070"


def upgrade() -> None:
    op.add_column("spawners", sa.Column("display_name", sa.Unicode(255)))
