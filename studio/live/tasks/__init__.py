"""Work in the background: ordinary commands in processes of their own."""
