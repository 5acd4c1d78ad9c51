"""Fink: an alert broker for ZTF and Rubin on Spark, Kafka and HBase."""

__version__ = "5.0.0"
