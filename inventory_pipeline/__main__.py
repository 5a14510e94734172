"""`python -m inventory_pipeline`: the same as the command `inventory-pipeline`."""

from inventory_pipeline.cli import main

if __name__ == "__main__":
    main()
