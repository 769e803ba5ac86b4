"""A machine that looks for the next way around the guard: run it with ``make search``.

It composes random views out of what SQLAlchemy and Flask allow, has rivals commit between any two of their steps,
and compares what is in the database afterwards, and what was answered, with the promises and with the same view
undecorated. What it finds is made as short as it can be, and printed so that it can be played again.
"""
