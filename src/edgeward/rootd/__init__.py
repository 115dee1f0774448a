"""The one small program that runs as root: typed, allow-listed actions and nothing else; stdlib only."""
