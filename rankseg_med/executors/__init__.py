"""How a workflow's studies are spread."""
