"""Everything that says TensorRT: building, keeping and running its engines."""
