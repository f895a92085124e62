"""``python -m ecommerce_pipeline``: the same as the command ``ecommerce-pipeline``."""

from ecommerce_pipeline.cli import main

if __name__ == "__main__":
    main()
