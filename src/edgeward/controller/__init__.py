"""The program that says what should be."""
