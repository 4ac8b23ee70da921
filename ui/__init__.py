"""The faces of assetline: the command line, and the read models that every face shows."""
