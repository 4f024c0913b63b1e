"""`python -m pool_exporter`: the same program as `pool-exporter`."""

import sys

from pool_exporter.cli import main

sys.exit(main())
