"""The oldest schema that we take over: JupyterHub 4 (and 3, with group properties). Its tables are there already."""

revision = "0eee8c825d24"
down_revision = None


def upgrade() -> None:
    pass
