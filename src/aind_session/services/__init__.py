"""What is asked of each service, in its own client's terms. Nothing here knows of sessions."""
