-- grain: one row: words about a strategy may change, its config may not.
update strategies
set
    category = %(category)s,
    description = %(description)s
where
    name = %(name)s
    and version = %(version)s
    and config_hash = %(config_hash)s
    and (category, description) is distinct from (%(category)s, %(description)s)
