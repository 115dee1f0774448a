"""Edgeward puts customers' domains in front of customers' networks."""

__version__ = "0.1.0"
