"""Users have what the authenticator tells of them."""

import sqlalchemy as sa
from alembic import op

from jupyterhub.hub.store.tables import JsonText

revision = "ff1860e38070"
down_revision = "afd65840b69e"


def upgrade() -> None:
    op.add_column("users", sa.Column("user_info", JsonText))
