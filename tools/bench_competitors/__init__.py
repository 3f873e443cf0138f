"""What `tools/bench.py` compares: one small file a competitor, and what they share."""
