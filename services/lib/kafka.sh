# Apache Kafka in KRaft mode: broker and controller in one process. The jars hold no command-line tools.

kafka_home=$SVC_HOME/kafka-$KAFKA_VERSION
kafka_needs=mvn
kafka_takes='43 MB of jars, about 15 s'
kafka_ports='KAFKA_PORT KAFKA_CONTROLLER_PORT KAFKA_SASL_PORT KAFKA_BEHIND_FAULT_PORT'

kafka_install() {
  copy_jars "org.apache.kafka:kafka_2.13:$KAFKA_VERSION" \
    "org.apache.logging.log4j:log4j-core:$LOG4J_VERSION" "org.apache.logging.log4j:log4j-slf4j-impl:$LOG4J_VERSION"
}

kafka_properties() {
  local user plain_users=''
  for user in $KAFKA_USERS; do plain_users+=" user_${user%%:*}=\"${user#*:}\""; done
  # FAULT advertises toxiproxy's port: clients would go around the proxy otherwise
  cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$KAFKA_CONTROLLER_PORT
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$KAFKA_PORT,CONTROLLER://127.0.0.1:$KAFKA_CONTROLLER_PORT,SASL_PLAINTEXT://127.0.0.1:$KAFKA_SASL_PORT,FAULT://127.0.0.1:$KAFKA_BEHIND_FAULT_PORT
advertised.listeners=PLAINTEXT://127.0.0.1:$KAFKA_PORT,SASL_PLAINTEXT://127.0.0.1:$KAFKA_SASL_PORT,FAULT://127.0.0.1:$KAFKA_FAULT_PORT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,FAULT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN
listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required$plain_users;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
super.users=User:admin;User:ANONYMOUS
log.dirs=$SVC_DATA/kafka
auto.create.topics.enable=$KAFKA_AUTOCREATE
num.partitions=3
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=3
group.initial.rebalance.delay.ms=0
controlled.shutdown.enable=true
$KAFKA_EXTRA
PROPERTIES
}

kafka_logging() {
  cat <<'PROPERTIES'
rootLogger.level=warn
rootLogger.appenderRefs=out
rootLogger.appenderRef.out.ref=OUT
appender.out.type=Console
appender.out.name=OUT
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %p %c{1} %m%n
PROPERTIES
}

kafka_format() { # SERVER_PROPERTIES JAVA...: an empty data folder with the SCRAM users
  local properties=$1 user name users=()
  shift
  for user in $KAFKA_USERS; do
    name=${user%%:*}
    users+=(--add-scram "SCRAM-SHA-512=[name=$name,password=${user#*:}]")
    users+=(--add-scram "SCRAM-SHA-256=[name=$name,password=${user#*:}]")
  done
  rm -rf "$SVC_DATA/kafka" # a format that was interrupted
  mkdir -p "$SVC_DATA/kafka"
  "$@" -XX:TieredStopAtLevel=1 kafka.tools.StorageTool format -t 4L6g3nShT-eMCtK--X86sw -c "$properties" "${users[@]}" \
    >>"$SVC_LOG/kafka.log" 2>&1 8>&- || fail "kafka: its data folder cannot be made; see $SVC_LOG/kafka.log"
  touch "$SVC_DATA/kafka.formatted"
}

kafka_spawn() {
  local properties=$SVC_DATA/kafka.properties logging=$SVC_DATA/kafka-log4j2.properties
  kafka_properties >"$properties"
  kafka_logging >"$logging"
  local java=("$java_bin" -cp "$kafka_home/libs/*" "-Dlog4j2.configurationFile=file:$logging" -XX:+UseG1GC -Djava.awt.headless=true)
  [ -e "$SVC_DATA/kafka.formatted" ] || kafka_format "$properties" "${java[@]}"
  # shellcheck disable=SC2086
  spawn kafka "${java[@]}" $KAFKA_HEAP kafka.Kafka "$properties"
}

kafka_ready() {
  wait_until kafka 60 listening "$KAFKA_PORT"
  wait_until kafka 20 listening "$KAFKA_SASL_PORT"
  wait_until kafka 20 listening "$KAFKA_BEHIND_FAULT_PORT"
}
