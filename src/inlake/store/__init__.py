"""Where binaries and the promise log are kept: a folder or S3, behind the Store port."""
