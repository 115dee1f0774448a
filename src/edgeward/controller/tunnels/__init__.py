"""Tunnels: which node has which gateway, how each connection does, and what people do with it."""
