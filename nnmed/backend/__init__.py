"""What knows NumPy from CuPy and nothing of gradients: arrays, threads, random numbers."""
