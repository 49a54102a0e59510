-- grain: one row: the newest import; 0 without one
select coalesce(max(imports.id), 0)::bigint as import_id
from imports
