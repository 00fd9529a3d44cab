"""The folder of a run: flat, immutable Parquet files, written aside and renamed."""
