"""Readers of files from strangers, fed with garbage; see readers.py."""
