-- Held until the transaction ends: registrations of one model name happen one after the other.
select pg_advisory_xact_lock(hashtext('ml_models'), hashtext(%(name)s))
