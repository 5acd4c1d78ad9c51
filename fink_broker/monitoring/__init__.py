"""What went in, what came out, and whether the sums meet."""
