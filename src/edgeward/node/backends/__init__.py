"""Backends: where their names lead, and the relays to those behind tunnels."""
