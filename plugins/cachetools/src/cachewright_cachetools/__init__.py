"""The cachetools engine of cachewright; install the distribution and say ``engine="cachetools"``."""
