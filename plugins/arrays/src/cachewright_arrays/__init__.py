"""The array serializers of cachewright: NumPy arrays and tensors, alone and in containers."""

from __future__ import annotations
