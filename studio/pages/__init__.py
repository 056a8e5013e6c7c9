"""The studio's pages: each arranges what the packages do."""
