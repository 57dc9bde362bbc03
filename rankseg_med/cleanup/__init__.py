"""Label map to label map: what anatomy allows."""
