"""The page of `texturenets serve` as a Space; options go on to it, as in `python app.py --port 8000`."""

import os
import sys
from pathlib import Path

from texturenets.cli import main

MODELS = Path(__file__).parent / "models"

if __name__ == "__main__":
    # A Space is shown in a frame of the Hub's page, and its proxy may call it by a name of its own.
    words = ["serve", "--host", "0.0.0.0", "--allow-frame", "https://huggingface.co"]
    if host := os.environ.get("SPACE_HOST"):
        words += ["--allow-origin", f"https://{host}"]
    if MODELS.is_dir():
        words += ["--models", str(MODELS)]
    sys.exit(main([*words, *sys.argv[1:]]))
