"""The once-for-all interface for any paddle.nn network."""
