"""Does a model do as it is told? Commands and words, read back from imagined pixels and set beside their baselines."""
