"""The dill serializer of cachewright: lambdas, closures and local classes."""

from __future__ import annotations
