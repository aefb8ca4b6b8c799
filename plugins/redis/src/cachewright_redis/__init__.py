"""The redis engine of cachewright; install the distribution and say ``engine="redis"``."""
