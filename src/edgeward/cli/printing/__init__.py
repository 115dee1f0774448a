"""How what the API answers is printed for people and for programs."""
