"""Names that Envoy asks for: where their certificates are found, and what of them Envoy holds."""
