"""Where data comes from and what it reaches: text, schemas and edges; knows no definitions."""
