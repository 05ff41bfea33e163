"""Models on the Hugging Face Hub: fetched from there, and sent there."""
