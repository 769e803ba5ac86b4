"""Clients that collide on one resource of any application, and a judge of what they saw."""
