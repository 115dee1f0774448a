"""Certificates and keys as PEM files for servers that are not ours, and what is run when they changed."""
