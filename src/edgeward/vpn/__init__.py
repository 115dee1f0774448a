"""Site-to-site IPsec: what tunnels there should be, what a change costs, and the daemons that carry them."""
