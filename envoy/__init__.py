"""Configuration of the edge and of every sidecar, rendered from one source."""
