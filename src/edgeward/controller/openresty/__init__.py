"""Certificates for OpenResty fleets: the facade's use cases, the Redis they read, the caches they keep."""
