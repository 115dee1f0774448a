"""Keeps rootd running under `edgeward up`, which is root no more; elsewhere systemd does."""
