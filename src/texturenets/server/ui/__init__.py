"""The page: tabs in Gradio over the same functions, limits and queues as the HTTP API."""
