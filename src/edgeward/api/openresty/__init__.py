"""The face for OpenResty's client lua-resty-peter_sslers: the two requests it makes, and nothing else."""
