"""Listeners, services and routes, and their translation to Envoy's configuration."""
