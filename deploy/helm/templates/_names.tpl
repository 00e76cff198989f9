{{- define "inlake.labels" -}}
app.kubernetes.io/name: inlake
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "inlake.selector" -}}
app.kubernetes.io/name: inlake
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
