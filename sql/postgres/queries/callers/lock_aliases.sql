-- One writer of aliases at a time: two that are added at once could close a circle that neither sees.
lock table caller_aliases in share row exclusive mode
