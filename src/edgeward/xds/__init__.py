"""Envoy's delta discovery protocol; knows no feature."""
