"""Where the shared photographs lie: beside the checkout, or where ``XAIBENCH_FACES`` says. Tests skip without them."""

import os
from pathlib import Path

FACES = Path(os.environ.get("XAIBENCH_FACES", Path(__file__).parents[2] / ".." / "shared" / "data" / "faces"))
