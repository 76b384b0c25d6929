"""``python -m jupyterhub.singleuser``."""

from . import main

if __name__ == "__main__":
    main()
