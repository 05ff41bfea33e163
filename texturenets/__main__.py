"""`python -m texturenets` is `texturenets`."""

from __future__ import annotations

import sys

from texturenets.cli import main

sys.exit(main())
