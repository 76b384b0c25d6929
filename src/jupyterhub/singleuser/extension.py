"""Sign: the jupyter_server extension lives in ``jupyterhub.client.singleuser.extension``."""

from jupyterhub.client.singleuser.extension import (
    JupyterHubAuthorizer,
    JupyterHubIdentityProvider,
    JupyterHubSingleUser,
    JupyterHubUser,
    _jupyter_server_extension_points,
    main,
)

__all__ = [
    "JupyterHubAuthorizer",
    "JupyterHubIdentityProvider",
    "JupyterHubSingleUser",
    "JupyterHubUser",
    "_jupyter_server_extension_points",
    "main",
]

if __name__ == "__main__":
    main()
