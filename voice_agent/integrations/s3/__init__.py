"""S3, or anything that speaks it: recordings and exports. Needs the extra `s3`."""
