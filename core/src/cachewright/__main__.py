"""``python -m cachewright`` is the same as ``cachewright``."""

import sys

from cachewright.cli import main

if __name__ == "__main__":
    sys.exit(main())
