"""What visitors send: checked by content, within bounds, made a dataset."""
