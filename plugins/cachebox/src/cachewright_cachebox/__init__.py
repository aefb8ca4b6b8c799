"""The cachebox engine of cachewright; install the distribution and say ``engine="cachebox"``."""
