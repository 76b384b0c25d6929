"""Sign: the command that runs an application subclass lives in ``jupyterhub.client.singleuser.app_mode``."""

from jupyterhub.client.singleuser.app_mode import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
