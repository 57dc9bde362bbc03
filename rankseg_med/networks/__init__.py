"""Networks by name, and the weights that ship with the package."""
