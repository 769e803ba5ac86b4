"""Sphinx's settings."""

from importlib.metadata import version as version_of

project = "Flask-ETag"
author = "The Flask-ETag authors"
copyright = f"2026, {author}"
release = version_of("Flask-ETag")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
html_theme = "furo"
html_title = f"Flask-ETag {release}"
html_static_path = ["_static"]
myst_heading_anchors = 3
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
nitpicky = False
html_theme_options = {
    "source_repository": "https://github.com/flask-etag/flask-etag/",
    "source_branch": "main",
    "source_directory": "docs/",
}
copybutton_prompt_text = "$ "
