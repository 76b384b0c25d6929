"""A multi-user hub for Jupyter: people log in, each gets a server, one public address leads to all of them."""

from .words.version import __version__, version_info

__all__ = ["__version__", "version_info"]
