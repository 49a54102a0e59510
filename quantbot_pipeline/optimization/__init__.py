"""Parameter search: search spaces, objectives and studies over strategy documents. Pure."""
