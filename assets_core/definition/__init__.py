"""What a user declares: assets, partitions, contracts, checks and policies, all frozen values."""
