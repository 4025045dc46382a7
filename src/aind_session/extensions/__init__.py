"""The package's own namespaces; each uses only the floors below, through the door for everybody."""
