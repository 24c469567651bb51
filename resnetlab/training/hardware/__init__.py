"""What the machine can do: device, precision, threads, memory."""
