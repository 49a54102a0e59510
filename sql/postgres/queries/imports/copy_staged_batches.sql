copy staged_batches (
    position,
    kind,
    file,
    sha256,
    options_key,
    batch_number,
    rows_read,
    rows_stored,
    rows_duplicate,
    rows_quarantined,
    details_json
) from stdin
