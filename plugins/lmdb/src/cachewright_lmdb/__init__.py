"""The lmdb engine of cachewright; install the distribution and say ``engine="lmdb"``."""
