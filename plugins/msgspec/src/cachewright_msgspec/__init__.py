"""The msgspec serializers of cachewright: JSON-like values, and registered classes by declared type."""

from __future__ import annotations

from cachewright_msgspec.registry import register

__all__ = ["register"]
