"""Where the repository lies, and what tests compare with."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
FIXTURES = Path(__file__).parent / "fixtures"
PARITY = FIXTURES / "parity"  # made by running the authors' PyTorch code
