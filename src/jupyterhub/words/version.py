"""The version: the first two numbers name the JupyterHub API level, the third counts our own releases from 100."""

__version__ = "6.1.100"

#: major, minor, patch, pre-release, development: the five-tuple that plugins compare with
version_info: tuple[int, int, int, str, str] = (6, 1, 100, "", "")
