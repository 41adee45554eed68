"""`python -m prolip` runs the command line."""

import sys

from prolip.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
