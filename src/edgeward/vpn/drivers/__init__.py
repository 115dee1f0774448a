"""The daemons that carry tunnels, each behind the same Driver."""
