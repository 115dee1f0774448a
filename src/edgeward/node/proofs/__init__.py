"""What proves names to authorities that check them here."""
