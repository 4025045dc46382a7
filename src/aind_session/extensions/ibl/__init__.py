"""Neuroglancer states, the IBL data converter, and probe alignments."""
