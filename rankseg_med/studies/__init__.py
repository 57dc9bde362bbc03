"""A study on disk: manifests, NIfTI in and out, geometry checks, atomic writes."""
