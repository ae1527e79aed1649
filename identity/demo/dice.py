"""Chance that rolls alike on every platform and every Python: only `random.random()` is promised to be stable."""

import random
from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """A seeded source of decisions, and of numbers that never repeat."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.roll = random.Random(seed).random

    def chance(self, probability: float) -> bool:
        return self.roll() < probability

    def below(self, limit: int) -> int:
        """Return an integer of 0 .. limit - 1."""
        return int(self.roll() * limit)

    def between(self, low: int, high: int) -> int:
        """Return an integer of low .. high, both included."""
        return low + int(self.roll() * (high - low + 1))

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.roll() * len(options))]

    def hex_id(self, kind: str, number: int) -> str:
        """Return 32 hexadecimal digits that look random and belong to this kind and number."""
        return blake2b(f"{self.seed}:{kind}:{number}".encode(), digest_size=16).hexdigest()


class Scrambled:
    """Every number below `size` once, in an order that looks random, without remembering any.

    Phones, licences and plates must be as unique as in life: drawn at random, one phone in a hundred would belong to two
    strangers at a million people.
    """

    def __init__(self, size: int, step: int, start: int) -> None:
        self.size, self.step, self.value = size, step, start % size

    def next(self) -> int:
        self.value = (self.value + self.step) % self.size
        return self.value
