"""The families: one file each, with its model, its guide and its defaults."""
