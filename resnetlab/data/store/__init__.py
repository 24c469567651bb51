"""From a file's bytes to decoded pixels, kept in one memory-mapped file."""
