"""The generator of the documentation site: from this repository's code and results to pages."""
