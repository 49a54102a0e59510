-- Tokens of one write, before they have ids; gone when the transaction ends.
create temporary table staged_tokens (
    chain text not null,
    address text not null,
    symbol text
) on commit drop
