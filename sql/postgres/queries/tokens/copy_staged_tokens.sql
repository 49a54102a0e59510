copy staged_tokens (chain, address, symbol) from stdin
