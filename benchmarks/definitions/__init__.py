"""What is measured: one module or package for each verb.

A verb has a ``TITLE`` and a function ``run(options)``, which measures, writes the results and
returns what was written. Its contract stands at its top.
"""
