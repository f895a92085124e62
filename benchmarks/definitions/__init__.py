"""What is measured: one module or package for each benchmark.

A benchmark has a ``TITLE`` and a function ``run(options)``, which measures, writes the results and
returns a ``BenchmarkOutcome``. Its docstring says what a variant needs in order to be measured.
"""
