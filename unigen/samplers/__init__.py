"""How draws are made; one sampler a file."""
