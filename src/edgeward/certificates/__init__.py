"""Which names may have certificates, and how these come about."""
