"""The sealed copy of everything the controller said, on this host's disk."""
