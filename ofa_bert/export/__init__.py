"""Sub-models as files: extraction, static graphs, parity."""
