"""How log p(x) is computed, bounded or estimated; one way a file."""
