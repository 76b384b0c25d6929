"""The authenticators that ship with the hub, besides those beside their contract in ``jupyterhub.auth``."""
