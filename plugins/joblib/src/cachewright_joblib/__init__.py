"""joblib for cachewright: engine, serializer, key maker, and a backend of ``joblib.Memory``."""

from __future__ import annotations
