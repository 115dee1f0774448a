"""Tunnels on this node: made as they are declared, told of as they are, steered by people."""
