{{- /*
Names are fixed and don't depend on the release's: Postern guards a whole cluster, so a second installation would fight
the first over the same admission policies.
*/ -}}

{{- define "postern.labels" -}}
app.kubernetes.io/name: postern
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "postern.selector" -}}
app.kubernetes.io/name: postern
app.kubernetes.io/component: operator
{{- end }}

{{- /* An image; takes (dict "image" … "root" .) */ -}}
{{- define "postern.image" -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- /* The operator, as the API server knows it. */ -}}
{{- define "postern.username" -}}
system:serviceaccount:{{ .Release.Namespace }}:postern-operator
{{- end }}

{{- /* Where gateways' outputs go: their namespaces and the release's own; a list in YAML and in CEL. */ -}}
{{- define "postern.outputNamespaces" -}}
{{- $namespaces := list .Release.Namespace }}
{{- range .Values.gateways }}
{{- if .namespace }}
{{- $namespaces = append $namespaces .namespace }}
{{- end }}
{{- end }}
{{- $namespaces | uniq | sortAlpha | toJson }}
{{- end }}

{{- /* Fails on what the values' schema can't say. */ -}}
{{- define "postern.validate" -}}
{{- $names := dict }}
{{- range .Values.gateways }}
{{- if hasKey $names .name }}
{{- fail (printf "gateways: %q is declared twice; keep one of the two" .name) }}
{{- end }}
{{- $_ := set $names .name true }}
{{- end }}
{{- if eq .Release.Namespace "kube-system" }}
{{- fail "Postern can't be installed in kube-system, which its admission leaves alone: use a namespace of its own, for example --namespace postern-system --create-namespace" }}
{{- end }}
{{- end }}
