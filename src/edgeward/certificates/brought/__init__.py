"""Certificates that people bring."""
