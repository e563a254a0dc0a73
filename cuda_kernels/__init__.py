"""The array operations around the networks; `reference` is their specification in NumPy."""
