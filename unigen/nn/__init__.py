"""Backbones: plain ``nn.Module`` networks that any family may be wired with."""
