"""What every benchmark shares: rounds, samples, statistics, results."""
