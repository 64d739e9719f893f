"""Makes documents out of the records of an atlas: a tagged PDF, and one HTML file that needs nothing else."""
