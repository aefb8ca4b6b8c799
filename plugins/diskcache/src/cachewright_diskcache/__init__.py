"""The diskcache engines of cachewright; say ``engine="diskcache"`` or ``engine="diskcache-fanout"``.

The library they are built on has a security hole that nobody has fixed, CVE-2025-69872: it unpickles what it
reads, so that whoever can write to the directory of a cache can run code. The engines never let it unpickle
or pickle anything, but scanners will report the library wherever it is installed. Prefer ``engine="sqlite"``.
"""
