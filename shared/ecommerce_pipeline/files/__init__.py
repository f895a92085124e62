"""Files that survive a kill: atomic writes, JSON lines and locks between processes."""
