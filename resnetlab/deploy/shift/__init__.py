"""What a bundle keeps to tell images unlike its training images: written, read, compared as they come."""
