"""What the site's pages are made of: code that runs, and results that were measured."""
