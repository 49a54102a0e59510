-- One derivation at a time: what is written is what was read, and no older view of the alerts overwrites a newer one.
lock table calls in share row exclusive mode
