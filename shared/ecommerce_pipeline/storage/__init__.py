"""What a run keeps: landing files, the warehouse, the published copy and the step journal."""
