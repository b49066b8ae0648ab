"""Labelled texts: readers, tokens, batches."""
