"""The controller's part in certificates: who may do what with them, and what keeps them."""
