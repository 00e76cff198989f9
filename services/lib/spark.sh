# Spark's jars for Kafka, Avro and S3: nothing that runs. PySpark itself is a Python package, in the recipe's environment.
# Of the AWS SDK the modules that hadoop-aws uses, 15 MB, in place of its bundle of 642 MB.

spark_home=$SVC_HOME/spark-$SPARK_VERSION
spark_needs=mvn
spark_takes='22 MB of jars, about 20 s'

spark_install() {
  local spark=org.apache.spark sdk=software.amazon.awssdk
  # what PySpark brings itself would stand there twice
  JARS_WITHOUT=io.netty,org.apache.httpcomponents,commons-codec,commons-logging,org.slf4j copy_jars \
    "$spark:spark-sql-kafka-0-10_2.13:$SPARK_VERSION:alone" \
    "$spark:spark-token-provider-kafka-0-10_2.13:$SPARK_VERSION:alone" \
    "$spark:spark-avro_2.13:$SPARK_VERSION:alone" \
    "org.apache.kafka:kafka-clients:$SPARK_KAFKA_CLIENTS_VERSION:alone" \
    "org.apache.commons:commons-pool2:2.12.1:alone" \
    "org.apache.hadoop:hadoop-aws:$SPARK_HADOOP_VERSION:alone" \
    "software.amazon.s3.analyticsaccelerator:analyticsaccelerator-s3:1.2.1:alone" \
    "$sdk:s3:$SPARK_AWS_SDK_VERSION" "$sdk:s3-transfer-manager:$SPARK_AWS_SDK_VERSION" "$sdk:sts:$SPARK_AWS_SDK_VERSION" \
    "$sdk:apache-client:$SPARK_AWS_SDK_VERSION" "$sdk:netty-nio-client:$SPARK_AWS_SDK_VERSION"
}
