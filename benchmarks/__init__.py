"""What a look costs, beside the naive way: `python -m benchmarks`."""
