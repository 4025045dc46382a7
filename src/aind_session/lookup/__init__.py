"""Joins of three services' data on one session, or many, in the fewest round trips."""
