"""The program that keeps Envoy running; standard library only."""
