"""The only code that knows a client library: Kafka, Parquet, HBase."""
