"""Which cleanup helps, tried on cases whose truth is known."""
