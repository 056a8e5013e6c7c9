"""The page Drive."""
