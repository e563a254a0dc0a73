"""Training in PyTorch: networks, data, losses, trainer. The runtime never imports this package."""
