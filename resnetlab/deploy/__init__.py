"""What leaves the workshop: bundles, and prediction with nothing but a bundle."""
