"""Batches of rollouts: a job file, its units of work, engines that do them, and what is made of their outputs."""
