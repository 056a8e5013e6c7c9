"""The folder of a batch, on a disk or in an object store: nothing in it is ever half there."""
