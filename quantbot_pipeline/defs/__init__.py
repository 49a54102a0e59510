"""The Dagster graph. The only folder that imports Dagster; everything here is a thin cover over workflows."""
