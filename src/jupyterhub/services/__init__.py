"""Sign: what services import. See ``jupyterhub.services.auth``."""
