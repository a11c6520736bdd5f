"""What comes out of a run: tables, variables, pictures, the report."""
