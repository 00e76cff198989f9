# Apicurio Registry, which speaks Confluent's REST API at /apis/ccompat/v7. It needs Java 21.

registry_home=$SVC_HOME/apicurio-$APICURIO_VERSION
registry_needs=mvn
registry_takes='160 MB, about 20 s'
registry_ports='REGISTRY_PORT REGISTRY_MANAGEMENT_PORT'

registry_install() {
  local archive=apicurio-registry-app-$APICURIO_VERSION-all.tar.gz
  maven "$MAVEN_DEPENDENCY_PLUGIN:copy" -DoutputDirectory="$PWD" \
    -Dartifact="io.apicurio:apicurio-registry-app:$APICURIO_VERSION:tar.gz:all" &&
    tar -xzf "$archive" && rm "$archive"
}

registry_spawn() {
  local database=jdbc:h2:mem:registry
  [ "$REGISTRY_PERSIST" = 0 ] || database="jdbc:h2:file:$SVC_DATA/registry/db"
  spawn registry "$java_bin" -Xms128m -Xmx768m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
    -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port="$REGISTRY_PORT" -Dquarkus.http.access-log.enabled=false \
    -Dquarkus.management.host=127.0.0.1 -Dquarkus.management.port="$REGISTRY_MANAGEMENT_PORT" \
    -Dapicurio.datasource.url="$database" -Dapicurio.datasource.jdbc.initial-size=2 \
    -Dapicurio.datasource.jdbc.min-size=2 -Dapicurio.datasource.jdbc.max-size=20 \
    -Dapicurio.rest.deletion.artifact.enabled=true -Dapicurio.rest.deletion.artifact-version.enabled=true \
    -Dapicurio.rest.deletion.group.enabled=true -Dquarkus.log.category."io.apicurio".level=WARN \
    -jar "$registry_home/quarkus-run.jar"
}

registry_ready() {
  local api=http://127.0.0.1:$REGISTRY_PORT/apis/ccompat/v7
  wait_until registry 90 answers "$api/subjects"
  curl -sf --noproxy '*' -o /dev/null -X PUT -H 'Content-Type: application/json' \
    -d "{\"compatibility\": \"$REGISTRY_COMPATIBILITY\"}" "$api/config" || fail "registry: its compatibility cannot be set"
}
