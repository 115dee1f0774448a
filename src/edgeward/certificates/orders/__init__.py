"""Certificates from other authorities: their queue, what begins when, and each one's way."""
