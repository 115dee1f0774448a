"""The closed table of actions: what one is, the types of its values, and where it is read from."""
