"""The program that makes it so on one host."""
