# Helm and kubeconform, for the test of the chart: installed on request; nothing of them runs here.

helm_home=$SVC_HOME/helm-$HELM_VERSION
helm_needs=go
helm_takes='built with Go, some minutes'

helm_install() {
  go_build "helm.sh/helm/v3/cmd/helm@$HELM_VERSION" helm &&
    go_build "github.com/yannh/kubeconform/cmd/kubeconform@$KUBECONFORM_VERSION" kubeconform
}
