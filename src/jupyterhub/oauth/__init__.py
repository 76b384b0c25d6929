"""Sign: see ``jupyterhub.oauth.provider``."""
