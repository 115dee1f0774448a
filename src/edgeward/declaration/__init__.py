"""The declared state: parse it, compare it, change it, follow it."""
