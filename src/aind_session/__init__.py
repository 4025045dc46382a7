"""Name a session: its assets, folders, metadata, modalities and sorting results are attributes."""
