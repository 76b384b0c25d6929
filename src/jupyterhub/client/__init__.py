"""What runs in users' servers and in services: who is asking (by way of the hub), and the single-user server.

Needs tornado and traitlets (``singleuser`` also jupyter_server), and never a database package: every user's server
would pay for it. People import it through ``jupyterhub.services.auth`` and ``jupyterhub.singleuser``.
"""
