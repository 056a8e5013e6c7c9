"""Everybody on the road: what they see, decide and do."""
