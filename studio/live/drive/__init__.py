"""A drive by hand in the dream, in the town, or in both."""
