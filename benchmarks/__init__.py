"""Speed measurements beside PyTorch."""
