"""One self-contained HTML file about a model, for people who did not train it."""
