-- grain: one row
select toInt64(count()) as rows
from {table:Identifier} final
