"""Services get what only their configuration held before."""

import sqlalchemy as sa
from alembic import op

from jupyterhub.hub.store.tables import JsonText

revision = "3c2384c5aae1"
down_revision = "0eee8c825d24"


def upgrade() -> None:
    for column in (
        sa.Column("url", sa.Unicode(2047)),
        sa.Column("oauth_client_allowed_scopes", JsonText),
        sa.Column("info", JsonText),
        sa.Column("display", sa.Boolean),
        sa.Column("oauth_no_confirm", sa.Boolean),
        sa.Column("command", JsonText),
        sa.Column("cwd", sa.Unicode(4095)),
        sa.Column("environment", JsonText),
        sa.Column("user", sa.Unicode(255)),
        sa.Column("from_config", sa.Boolean),
    ):
        op.add_column("services", column)
    op.execute(sa.text("UPDATE services SET from_config = :yes").bindparams(sa.bindparam("yes", True, sa.Boolean)))
    # The column is called "_server_id" in all versions. A service's client can be found by its name only:
    # the start of the hub writes it anew.
    columns = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("services")}
    if "oauth_client_id" not in columns:
        with op.batch_alter_table("services") as table:
            table.add_column(
                sa.Column(
                    "oauth_client_id",
                    sa.Unicode(255),
                    sa.ForeignKey(
                        "oauth_clients.identifier",
                        ondelete="SET NULL",
                        name="fk_services_oauth_client_id_oauth_clients",
                    ),
                )
            )
