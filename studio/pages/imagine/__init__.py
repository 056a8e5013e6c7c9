"""The page Imagine."""
