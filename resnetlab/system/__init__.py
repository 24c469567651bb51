"""The system below: whole files, space and rights, the allocator, threads, progress, interruption."""
