"""Sphinx configuration of the documentation."""

project = "A hub for Jupyter"
extensions = ["myst_parser"]
html_theme = "furo"
exclude_patterns = ["_build"]
