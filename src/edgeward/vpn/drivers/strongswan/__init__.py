"""strongSwan's charon, asked and heard over vici."""
