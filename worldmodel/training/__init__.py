"""How the world model learns."""
