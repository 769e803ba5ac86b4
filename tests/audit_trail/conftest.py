"""The recipe is for SQLAlchemy-Continuum, and goes as well with sqlalchemy-history, which is one of its forks."""

import importlib
import os
import sys

sys.modules["sqlalchemy_continuum"] = importlib.import_module(
    os.environ.get("TEST_HISTORY_LIBRARY", "sqlalchemy_continuum")
)
