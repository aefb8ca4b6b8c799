"""The aiocache engines of cachewright: ``aiocache``, ``aiocache-redis`` and ``aiocache-memcached``."""
