"""Random numbers that are the same on every machine and in every numpy version.

Only the raw 64-bit output of PCG64, which numpy promises never to change, and arithmetic that IEEE 754
rounds exactly (sums, products, quotients, square roots): no logarithms or sines, whose last bits differ
between processors, and none of numpy's distributions, whose streams may change between versions.
"""

import numpy as np

from quantbot_pipeline.engine.candles import FloatArray, IntArray


class RandomNumbers:
    """A stream of random numbers of its own for each seed and purpose.

    Args:
        seed: Seed of the data set, >= 0.
        purpose: Further numbers >= 0 that tell this stream from the others of the same seed.
    """

    def __init__(self, seed: int, *purpose: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence([seed, *purpose]))

    def raw_bytes(self, count: int) -> bytes:
        """Return random bytes."""
        words = self._bits.random_raw((count + 7) // 8)
        return np.asarray(words, dtype="<u8").tobytes()[:count]

    def uniforms(self, count: int) -> FloatArray:
        """Return values in [0, 1), shape (count,)."""
        words = np.asarray(self._bits.random_raw(count), dtype=np.uint64)
        return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Return one value in [low, high)."""
        return low + (high - low) * float(self.uniforms(1)[0])

    def integer(self, low: int, high: int) -> int:
        """Return one whole number in [low, high)."""
        return low + int(self.uniform() * (high - low))

    def integers(self, low: int, high: int, count: int) -> IntArray:
        """Return whole numbers in [low, high), shape (count,)."""
        return low + (self.uniforms(count) * (high - low)).astype(np.int64)

    def bells(self, count: int) -> FloatArray:
        """Return values of mean 0 and standard deviation 1, shape (count,).

        The sum of four uniforms has the variance 4/12, so √3 brings it to 1; no value lies beyond ±3.47.
        """
        total = self.uniforms(count) + self.uniforms(count) + self.uniforms(count) + self.uniforms(count)
        return (total - 2.0) * 1.7320508075688772

    def fat_tailed(self, count: int) -> FloatArray:
        """Return values of mean 0 and variance 2 with rare ones of up to ±19, shape (count,).

        A bell over a uniform scale: quiet most of the time, wild now and then. The variance is
        0.45² · (1/0.08 - 1/1.28) / 1.2 = 1.98.
        """
        return self.bells(count) * 0.45 / (0.08 + 1.2 * self.uniforms(count))
