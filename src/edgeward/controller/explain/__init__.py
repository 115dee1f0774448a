"""Why something works or does not: the way it takes, step by step, up to the first that is broken."""
