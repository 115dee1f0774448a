"""Certificates that come about at the first handshake, and whether a name may have one."""
