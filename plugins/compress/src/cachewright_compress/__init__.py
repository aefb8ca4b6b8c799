"""Fast codecs for entries of cachewright caches."""
