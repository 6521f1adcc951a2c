"""Tables on disk: names of their columns, Parquet files, where results come from."""
