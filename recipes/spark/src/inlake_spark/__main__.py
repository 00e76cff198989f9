"""The file for spark-submit."""

from inlake_spark.cli import main

if __name__ == "__main__":
    main()
