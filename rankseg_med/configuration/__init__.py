"""What makes a config: its files, what may stand in them, and how entries are built."""
