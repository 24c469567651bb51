"""The numbers are those of the paper's authors and of NumPy, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetlab.data.augment.philox import philox, uniforms

# Counter (4), key (2) and answer (4), in hex: the authors' own, of Random123's kat_vectors.
KNOWN_ANSWERS = [
    """0000000000000000 0000000000000000 0000000000000000 0000000000000000
       0000000000000000 0000000000000000
       16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b""",
    """ffffffffffffffff ffffffffffffffff ffffffffffffffff ffffffffffffffff
       ffffffffffffffff ffffffffffffffff
       87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0""",
    """243f6a8885a308d3 13198a2e03707344 a4093822299f31d0 082efa98ec4e6c89
       452821e638d01377 be5466cf34e90c6c
       a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6""",
]


def numpys(seed: int, epoch: int, key: int, count: int) -> np.ndarray:
    address = np.array([seed, key], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=address, counter=[0, 0, epoch, 0])).random(
        count
    )


@pytest.mark.parametrize("answer", KNOWN_ANSWERS)
def test_known_answers_are_given(answer):
    words = np.array([int(word, 16) for word in answer.split()], dtype=np.uint64)[:, None, None]

    np.testing.assert_array_equal(philox(words[:4], words[4:6]), words[6:])


@settings(max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 10**6),
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20),
    st.integers(1, 20),
)
def test_the_numbers_of_each_key_are_numpys(seed, epoch, keys, count):
    found = uniforms(seed, epoch, np.array(keys, dtype=np.uint64), count)

    expected = [numpys(seed, epoch, key, count) for key in keys]
    np.testing.assert_array_equal(found, np.transpose(expected))


def test_numbers_lie_between_0_and_1_and_1_is_none_of_them():
    found = uniforms(0, 0, np.arange(5000, dtype=np.uint64), 18)

    assert 0 <= found.min() < 1e-3
    assert 1 - 1e-3 < found.max() < 1
    assert found.mean() == pytest.approx(0.5, abs=0.005)
