"""Where weights come from: checkpoints, published files, exported models."""
