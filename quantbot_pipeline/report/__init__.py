"""The HTML report: what it needs (`content`), how it is collected (`collect`), how it looks (`page`)."""
