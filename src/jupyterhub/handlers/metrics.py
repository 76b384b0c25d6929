"""Sign: see ``jupyterhub.handlers``."""

from jupyterhub.hub.web.api.hub import Metrics as MetricsHandler

__all__ = ["MetricsHandler"]
