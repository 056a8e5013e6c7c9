"""What stands beside the roads, and the light."""
