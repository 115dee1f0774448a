"""The door to authorities that speak ACME (RFC 8555): the one that knows ``requests``."""
