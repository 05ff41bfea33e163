"""The model file, its header with the graph, the shipped ones, and where models are found. No torch."""
