"""The page and the HTTP interface: `texturenets serve`."""
