"""Networks that other programs published, as ours."""
