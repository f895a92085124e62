"""What several tests share: small shops, small warehouses, a run folder filled by hand."""
