"""One frame to Poses: detect, crop, infer, decode, select; on the host or on a CUDA device."""
