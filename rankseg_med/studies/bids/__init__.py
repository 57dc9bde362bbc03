"""BIDS derivatives: how files are named, what says that a folder is a data set, and reading one."""
