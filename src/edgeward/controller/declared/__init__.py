"""What is declared: seen, changed, remembered, undone."""
