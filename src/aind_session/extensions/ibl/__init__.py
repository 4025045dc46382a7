"""Neuroglancer states and the IBL data converter."""
