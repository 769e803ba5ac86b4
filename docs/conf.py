"""Sphinx's settings."""

import warnings
from importlib.metadata import version as version_of

# autodoc looks at the column of the mixin Versioned, which is there for the models that take it.
warnings.filterwarnings("ignore", "Unmanaged access of declarative attribute")

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
