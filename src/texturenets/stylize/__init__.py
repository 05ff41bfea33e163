"""Photos stylized: a style on a photo of any size, strokes, what fits in memory. No torch."""
