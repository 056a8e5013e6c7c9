"""Roads: what leads where, and where one has to wait."""
