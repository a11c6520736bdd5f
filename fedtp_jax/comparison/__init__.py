"""Several results side by side: which runs share a cell, which differences are more than chance."""
