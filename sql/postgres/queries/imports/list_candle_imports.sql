-- What imports of candle files met besides candles that they stored.
-- grain: one row per completed import of a candle file, in the order of import
-- units: token_months_json is a list of [chain, address, YYYY-MM]; duplicates include conflicts: rows with other
--   values than a row of the same key, of the same file or stored before; early imports counted the file's own only
select
    rows_duplicate,
    rows_quarantined,
    coalesce((details_json ->> 'conflict_count')::bigint, (details_json ->> 'conflicts_in_file')::bigint, 0) as rows_conflicting,
    coalesce(details_json -> 'token_months', '[]'::jsonb)::text as token_months_json
from imports
where
    kind = 'candles'
    and status = 'completed'
order by id
