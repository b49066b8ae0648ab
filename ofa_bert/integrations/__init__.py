"""Bridges to other toolkits, each needing its own extra."""
