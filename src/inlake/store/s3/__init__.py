"""S3, or whatever speaks its protocol."""
