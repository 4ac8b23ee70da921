"""What assetline costs, as ratios against the raw limit in the same run.

python -m tests.benchmarks [NAME ...] [--json]      one or all
python -m tests.benchmarks --list
"""
