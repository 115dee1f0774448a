"""The REST face: use cases over HTTP, never a store."""
