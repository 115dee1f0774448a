"""Envoy on this host: what it is to hold, what it refused, and what it says of itself."""
