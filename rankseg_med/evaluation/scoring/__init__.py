"""Label maps to scores."""
