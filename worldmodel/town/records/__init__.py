"""Parts of writing scenes to disk."""
