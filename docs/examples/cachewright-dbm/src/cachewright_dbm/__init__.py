"""A engine of cachewright: say ``engine="dbm"``."""
