-- grain: one row, if the caller was an alias
delete from caller_aliases
where caller_id = %(caller_id)s
