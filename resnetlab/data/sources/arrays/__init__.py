"""Images and labels as arrays: NumPy, torch, safetensors, CIFAR's and MNIST's files."""
