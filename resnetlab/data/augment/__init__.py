"""How training images are varied: drawn in one place, applied in another."""
