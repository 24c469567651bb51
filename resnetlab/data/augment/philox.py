"""The counter-based generator Philox 4×64-10 for many keys at once, to the bit as NumPy's own.

NumPy's takes an object for each key, and making one costs more than the numbers of an image.
Source: Salmon et al. 2011, 'Parallel random numbers: as easy as 1, 2, 3'.
"""

import numpy as np

ROUNDS = 10
HALF = np.uint64(32)
LOW = np.uint64(2**32 - 1)
# One for each half of the state; two axes follow, of counters and of keys.
FACTORS = np.array([0xD2E7470EE14C6C93, 0xCA5A826395121157], np.uint64).reshape(2, 1, 1)
FACTORS_LOW, FACTORS_HIGH = FACTORS & LOW, FACTORS >> HALF
KEY_STEPS = np.array([0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B], np.uint64).reshape(2, 1, 1)


def uniforms(seed: int, epoch: int, keys: np.ndarray, count: int) -> np.ndarray:
    """Return the first `count` numbers of each address (seed, epoch, key), float64 (count, B) in 0..1.

    `keys` is uint64 (B,). The numbers of a key are those of NumPy's
    `Generator(Philox(key=[seed, key], counter=[0, 0, epoch, 0])).random(count)`.
    """
    blocks = -(-count // 4)
    counters = np.zeros((4, blocks, 1), dtype=np.uint64)
    counters[0, :, 0] = np.arange(1, blocks + 1)  # NumPy counts up before it draws
    counters[2] = epoch
    pairs = np.empty((2, 1, len(keys)), dtype=np.uint64)
    pairs[0], pairs[1] = seed, keys
    words = philox(counters, pairs).swapaxes(0, 1).reshape(4 * blocks, len(keys))
    return (words[:count] >> np.uint64(11)) * 2.0**-53


def philox(counters: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return four random words for each counter (4, M, 1) and key (2, 1, B): uint64 (4, M, B)."""
    even, odd = counters[0::2], counters[1::2]
    for _ in range(ROUNDS):
        high, low = multiply(even)
        # The halves change places, so that in the end each word depends on all.
        even, odd = high[::-1] ^ odd ^ keys, low[::-1]
        keys = keys + KEY_STEPS
    words = np.empty((4, *even.shape[1:]), dtype=np.uint64)
    words[0::2], words[1::2] = even, odd
    return words


def multiply(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the upper and the lower 64 bits of FACTORS times `words` (2, ...), by halves of 32 bits."""
    low, high = words & LOW, words >> HALF
    # A product of halves is at most (2**32 - 1)**2: two halves may be added, and it still fits.
    middle = high * FACTORS_LOW + (low * FACTORS_LOW >> HALF)
    other = low * FACTORS_HIGH + (middle & LOW)
    return high * FACTORS_HIGH + (middle >> HALF) + (other >> HALF), words * FACTORS
