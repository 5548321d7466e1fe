"""DP-FedEmb: image embeddings with user-level differential privacy."""
