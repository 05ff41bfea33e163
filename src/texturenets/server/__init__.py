"""The page and the HTTP API: `texturenets serve`."""
