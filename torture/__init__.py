"""Clients that collide on purpose, and a judge of what became of their writes."""
