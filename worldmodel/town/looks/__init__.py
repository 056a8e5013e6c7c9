"""How everything looks: rays, light, paint and shapes."""
