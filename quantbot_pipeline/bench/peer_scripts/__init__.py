"""Scripts that run in the peers' environment, which does not have the project; nothing imports them."""
