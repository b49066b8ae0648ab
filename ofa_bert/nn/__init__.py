"""Networks whose sizes are arguments of forward."""
