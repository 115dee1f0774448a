"""Tokens and roles: who may do what."""
