"""Nodes, as controllers see them: their feeds and reports, questions to them, and other controllers."""
