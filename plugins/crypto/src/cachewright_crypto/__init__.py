"""Encryption for entries of cachewright caches."""
