"""Sphinx's settings."""

from importlib.metadata import version as version_of

project = "Flask-ETag"
author = "The Flask-ETag authors"
copyright = f"2026, {author}"
release = version_of("Flask-ETag")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = "Flask-ETag"
html_static_path = ["_static"]
myst_heading_anchors = 3
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
nitpicky = False
