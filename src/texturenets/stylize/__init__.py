"""Stylizing photos: any size, stroke size, memory limits. No torch."""
