"""Models on the Hugging Face Hub: downloads and uploads."""
