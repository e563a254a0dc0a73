"""A teacher's keypoints as labels; needs no PyTorch."""
