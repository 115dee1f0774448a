"""The node's line to its controllers: what it hears, and what it says."""
