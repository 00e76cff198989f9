# toxiproxy: latency, slow links, cuts and black holes in front of the other three, by its API.

toxiproxy_home=$SVC_HOME/toxiproxy-$TOXIPROXY_VERSION
toxiproxy_needs=go
toxiproxy_takes='built with Go, about 20 s'
toxiproxy_ports='TOXIPROXY_PORT KAFKA_FAULT_PORT REGISTRY_FAULT_PORT S3_FAULT_PORT'

toxiproxy_install() { go_build "github.com/Shopify/toxiproxy/v2/cmd/server@$TOXIPROXY_VERSION" toxiproxy-server; }

toxiproxy_spawn() {
  cat >"$SVC_DATA/toxiproxy.json" <<PROXIES
[{"name": "kafka", "listen": "127.0.0.1:$KAFKA_FAULT_PORT", "upstream": "127.0.0.1:$KAFKA_BEHIND_FAULT_PORT", "enabled": true},
 {"name": "registry", "listen": "127.0.0.1:$REGISTRY_FAULT_PORT", "upstream": "127.0.0.1:$REGISTRY_PORT", "enabled": true},
 {"name": "s3", "listen": "127.0.0.1:$S3_FAULT_PORT", "upstream": "127.0.0.1:$S3_PORT", "enabled": true}]
PROXIES
  LOG_LEVEL=warn spawn toxiproxy "$toxiproxy_home/toxiproxy-server" \
    -host 127.0.0.1 -port "$TOXIPROXY_PORT" -config "$SVC_DATA/toxiproxy.json"
}

toxiproxy_ready() {
  local proxies=http://127.0.0.1:$TOXIPROXY_PORT/proxies
  wait_until toxiproxy 20 answers "$proxies"
  # a proxy that cannot listen is only a line in the log: count them
  [ "$(curl -s --noproxy '*' "$proxies" | grep -o '"listen"' | wc -l)" = 3 ] ||
    fail "toxiproxy: not all three proxies listen; see $SVC_LOG/toxiproxy.log"
}
