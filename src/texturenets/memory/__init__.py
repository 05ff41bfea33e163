"""How much memory there is, how it is asked for, and how it is given back. No torch."""
