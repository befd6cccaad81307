"""Statistics over all axes but the channels, and the affine map that follows them."""
