"""`python -m tombola`."""

import sys

from tombola.cli import main

if __name__ == "__main__":
    sys.exit(main())
