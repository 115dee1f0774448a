"""This installation's own authority: its roots and intermediates, and what it signs."""
