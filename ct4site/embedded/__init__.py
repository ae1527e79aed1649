"""Embedded PostgreSQL: our own launcher around the server binaries of a wheel.

``server.py`` starts, finds and stops the server; ``base.py`` is Django's PostgreSQL backend that
starts it on the first connection. Why not the wheel's own launcher: docs/adr/0001.
"""
