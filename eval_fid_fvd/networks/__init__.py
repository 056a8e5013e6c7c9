"""Feature networks, one file each: what turns pictures and clips into features."""
