"""What is looked at before an order: whether its authority would say no."""
