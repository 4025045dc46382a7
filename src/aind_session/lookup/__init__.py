"""The joins: what three services know of one session, or many, in the fewest round trips."""
