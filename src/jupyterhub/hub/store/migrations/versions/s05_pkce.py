"""Authorization codes are bound to the challenge of PKCE."""

import sqlalchemy as sa
from alembic import op

revision = "afd65840b69e"
down_revision = "be8ecf03ddac"


def upgrade() -> None:
    op.add_column("oauth_codes", sa.Column("code_challenge", sa.Unicode(255)))
    op.add_column("oauth_codes", sa.Column("code_challenge_method", sa.Unicode(64)))
