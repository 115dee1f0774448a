"""Renewal in time: what is due, what is late, and who is told of it."""
