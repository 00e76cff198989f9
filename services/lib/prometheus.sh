# Prometheus and promtool, for the test of the board and the alert rules: installed on request, started by that test.

prometheus_home=$SVC_HOME/prometheus-$PROMETHEUS_VERSION
prometheus_needs=go
prometheus_takes='built with Go, about 90 s'

prometheus_install() {
  # without the discovery of services in every cloud
  GOFLAGS=-tags=remove_all_sd go_build "github.com/prometheus/prometheus/cmd/prometheus@$PROMETHEUS_VERSION" prometheus &&
    GOFLAGS=-tags=remove_all_sd go_build "github.com/prometheus/prometheus/cmd/promtool@$PROMETHEUS_VERSION" promtool
}
