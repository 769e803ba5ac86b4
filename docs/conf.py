"""Sphinx's settings."""

import warnings
from importlib.metadata import metadata
from importlib.metadata import version as version_of

# autodoc looks at the column of the mixin Versioned, which is there for the models that take it.
warnings.filterwarnings("ignore", "Unmanaged access of declarative attribute")

project = "Flask-ETag"
author = "The Flask-ETag authors"
copyright = f"2026, {author}"
release = version_of("Flask-ETag")
urls = dict(url.split(", ", 1) for url in metadata("Flask-ETag").get_all("Project-URL"))

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
html_theme = "furo"
html_title = f"Flask-ETag {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_js_files = ["pages.js"]
myst_heading_anchors = 3
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
nitpicky = True
# Names of other libraries and of type variables in signatures, and types that nobody but a type checker needs.
nitpick_ignore_regex = [
    ("py:class", r"(collections|contextlib|datetime|flask|sqlalchemy|werkzeug)\..*"),
    ("py:class", r"(.*\.)?[A-Z](_co)?"),
    ("py:class", r"flask_etag\.(decorators\.ConditionalView|resources\.(AsyncResource|Declaration))"),
    ("py:class", r"flask_etag\.(validators\.(ContentHash|Schema|Validator|VersionColumn)|client\._Answer)"),
]
html_theme_options = {
    "source_repository": urls["Source"] + "/",
    "source_branch": "main",
    "source_directory": "docs/",
}
copybutton_prompt_text = "$ "
# Comments behind commands are not copied: zsh takes them for arguments.
copybutton_exclude = ".linenos, .gp ~ .c1"
