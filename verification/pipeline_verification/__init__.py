"""An independent computation of what a run must leave behind, and the comparison with it."""
