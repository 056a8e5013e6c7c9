"""From a job file to its units, and what they will cost."""
