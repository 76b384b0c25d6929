"""Sign: the handlers of services. They live in ``hub/web/api/services.py``."""

from jupyterhub.hub.web.api.services import OneService as ServiceAPIHandler
from jupyterhub.hub.web.api.services import ServiceList as ServiceListAPIHandler

__all__ = ["ServiceAPIHandler", "ServiceListAPIHandler"]
