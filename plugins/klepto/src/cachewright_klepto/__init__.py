"""The klepto engines of cachewright, klepto's rounding of floats, and transfers from and to archives."""

from cachewright_klepto.keymaker import KleptoKeyMaker
from cachewright_klepto.transfer import dump, load

__all__ = ["KleptoKeyMaker", "dump", "load"]
