{{/* The arrows: from, to, port. One list for both ends of each. */}}
{{- define "semface.arrows" -}}
{{- $services := list "extraction" "codec" "understanding" -}}
arrows:
{{- range $services }}
  - {from: gateway, to: {{ . }}, port: 8100}
  - {from: test, to: {{ . }}, port: 8100}
  {{- if eq $.Values.inference.mode "triton" }}
  - {from: {{ . }}, to: triton, port: 8001}
  {{- end }}
  {{- if $.Values.rollout.enabled }}
  - {from: rollout, to: {{ . }}, port: 8100}
  - {from: rollout, to: {{ . }}, port: 9100}
  {{- end }}
{{- end }}
  - {from: test, to: gateway, port: 8080}
{{- if eq .Values.redis.mode "own" }}
  - {from: gateway, to: redis, port: 6379}
  {{- if .Values.redis.backup.enabled }}
  - {from: backup, to: redis, port: 6379}
  {{- end }}
{{- end }}
{{- if eq .Values.inference.mode "triton" }}
  - {from: test, to: triton, port: 8001}
  {{- if .Values.triton.engines.enabled }}
  - {from: engines, to: triton, port: 8001}
  {{- end }}
  {{- if .Values.rollout.enabled }}
  - {from: rollout, to: triton, port: 8001}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The namespaces and networks beyond: component to what reaches it from outside, and what it reaches. */}}
{{- define "semface.outside" -}}
{{- $monitored := .Values.monitoring.enabled -}}
ingress:
{{- if .Values.entrances.http.enabled }}
  - {to: gateway, port: 8080, namespace: entrances}
{{- end }}
{{- range $name, $hostname := .Values.entrances.grpc.hostnames }}
{{- if and $.Values.entrances.grpc.enabled $hostname }}
  - {to: {{ $name }}, port: 8100, namespace: entrances}
{{- end }}
{{- end }}
{{- if $monitored }}
  - {to: gateway, port: 8080, namespace: monitoring}
  {{- range list "extraction" "codec" "understanding" }}
  - {to: {{ . }}, port: 9100, namespace: monitoring}
  {{- end }}
  {{- if eq .Values.inference.mode "triton" }}
  - {to: triton, port: 8002, namespace: monitoring}
  {{- end }}
{{- end }}
egress:
{{- if eq .Values.redis.mode "external" }}
{{- range .Values.redis.external.cidrs }}
  - {from: gateway, cidr: {{ . }}, port: {{ $.Values.redis.external.port }}}
{{- end }}
{{- end }}
{{- if .Values.tracing.enabled }}
{{- range list "gateway" "extraction" "codec" "understanding" }}
  - {from: {{ . }}, namespace: collector, port: {{ include "semface.urlPort" $.Values.tracing.endpoint }}}
{{- end }}
{{- if eq .Values.inference.mode "triton" }}
  - {from: triton, namespace: collector, port: {{ include "semface.urlPort" .Values.tracing.tritonEndpoint }}}
{{- end }}
{{- end }}
{{- range $cidr := .Values.networkPolicies.issuerCidrs }}
{{- range list "gateway" "extraction" "codec" "understanding" }}
  - {from: {{ . }}, cidr: {{ $cidr }}, port: 443}
{{- end }}
{{- end }}
{{- if .Values.rollout.enabled }}
{{- range .Values.networkPolicies.apiServerCidrs }}
  - {from: rollout, cidr: {{ . }}, port: 443}
  - {from: rollout, cidr: {{ . }}, port: 6443}
{{- end }}
{{- end }}
{{- end -}}

{{/* The port of a URL that names one, as the schema asks for. */}}
{{- define "semface.urlPort" -}}
{{- (urlParse .).host | splitList ":" | last -}}
{{- end -}}
