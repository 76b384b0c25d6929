"""A hub for one machine without root: everybody who knows the password gets a server that runs as the hub's own user.

Start it with ``jupyterhub -f examples/demo/jupyterhub_config.py`` after changing the password. For people who do not
trust each other use real accounts (the default) or containers instead: these servers share one account.
"""

c = get_config()  # noqa: F821

c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = "change me, please"
c.SharedPasswordAuthenticator.admin_password = "change me too, and keep it to yourself"
c.Authenticator.allowed_users = {"ada", "grace"}
c.Authenticator.admin_users = {"ada"}
c.JupyterHub.spawner_class = "simple"
c.Spawner.default_url = "/lab"
