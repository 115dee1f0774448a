"""The command `edgeward`."""
