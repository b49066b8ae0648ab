"""Checkpoints of ours and of other toolkits, read without running their code."""
