"""The keys that records are sealed with: rotated, and records sealed anew."""
