"""Speed and memory of Edgeward beside its peers, all in one run: `make bench`."""
