{{/* HPA or KEDA of one Deployment: dict root, component, target, scaling, metric, aim. */}}
{{- define "semface.scaling" -}}
{{- $context := dict "root" .root "component" .component -}}
{{- if and .root.Values.autoscaling.hpa.enabled .root.Values.autoscaling.keda.enabled -}}
{{- fail "autoscaling.hpa.enabled and autoscaling.keda.enabled exclude one another" -}}
{{- end -}}
{{- if .root.Values.autoscaling.hpa.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ .target }}
  labels: {{- include "semface.labels" $context | nindent 4 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .target }}}
  minReplicas: {{ .scaling.minimum }}
  maxReplicas: {{ .scaling.maximum }}
  metrics:
    - type: Pods
      pods:
        metric: {name: {{ .metric }}}
        target: {type: AverageValue, averageValue: {{ .aim | quote }}}
  behavior:
    scaleUp: {stabilizationWindowSeconds: 0, policies: [{type: Percent, value: 100, periodSeconds: 30}]}
    scaleDown: {stabilizationWindowSeconds: 300, policies: [{type: Percent, value: 10, periodSeconds: 60}]}
{{- end }}
{{- if .root.Values.autoscaling.keda.enabled }}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ .target }}
  labels: {{- include "semface.labels" $context | nindent 4 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .target }}}
  minReplicaCount: {{ .scaling.minimum }}
  maxReplicaCount: {{ .scaling.maximum }}
  pollingInterval: 15
  cooldownPeriod: 300
  # Where Prometheus is away, as many pods as there are, at least the minimum.
  fallback: {failureThreshold: 3, replicas: {{ .scaling.minimum }}, behavior: currentReplicasIfHigher}
  triggers:
    - type: prometheus
      metricType: AverageValue
      metadata:
        serverAddress: {{ required "autoscaling.keda.prometheus is needed where KEDA scales" .root.Values.autoscaling.keda.prometheus }}
        query: {{ printf "sum(%s{namespace=\"%s\",service=\"%s\"})" .metric .root.Release.Namespace (default .target .service) | quote }}
        threshold: {{ .aim | quote }}
{{- end }}
{{- end -}}
