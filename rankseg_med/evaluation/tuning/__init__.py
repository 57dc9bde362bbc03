"""Which decoding pays, chosen on validation cases."""
