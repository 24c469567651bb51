"""Who traces a network is alone with PyTorch: it calls other modules otherwise, in all threads, meanwhile."""

from threading import RLock

# Held while a network is traced, and while one computes. Without it, a server's requests that are computed as a
# successor is loaded fail with torch.fx's 'module is not installed as a submodule'.
alone = RLock()
