"""One job over many studies."""
