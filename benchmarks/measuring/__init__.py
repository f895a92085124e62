"""How every verb measures: rounds, samples, statistics, results."""
