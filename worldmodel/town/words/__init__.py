"""What can be said about a scene."""
