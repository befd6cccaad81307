"""Who is measured: nnmed in each of its forms, and PyTorch in both of its layouts."""
