"""Encoders and decoders: each a function from an Architecture to a pair of modules."""
