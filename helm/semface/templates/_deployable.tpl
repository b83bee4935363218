{{/* One of the four services: dict root, name. Deployment, headless Service, budget and scaling. */}}
{{- define "semface.deployable" -}}
{{- $root := .root -}}
{{- $name := .name -}}
{{- $values := index $root.Values $name -}}
{{- $fullname := printf "%s-%s" (include "semface.fullname" $root) $name -}}
{{- $context := dict "root" $root "component" $name -}}
{{- $scaled := or $root.Values.autoscaling.hpa.enabled $root.Values.autoscaling.keda.enabled -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $fullname }}
  labels: {{- include "semface.labels" $context | nindent 4 }}
spec:
  {{- if not $scaled }}
  replicas: {{ $values.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  # Callers find a new pod within two seconds; the next old one ends after that.
  minReadySeconds: 5
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  selector:
    matchLabels: {{- include "semface.stable" $context | nindent 6 }}
  template:
    metadata:
      labels: {{- include "semface.stable" $context | nindent 8 }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ include "semface.termination" $root }}
      securityContext: {{- include "semface.podSecurity" $root | nindent 8 }}
      {{- include "semface.pullSecrets" $root | nindent 6 }}
      {{- include "semface.spread" $context | nindent 6 }}
      {{- with $values.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ $name }}
          image: {{ include "semface.image" (dict "root" $root "image" $root.Values.image) }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args: [{{ $name }}]
          env: {{- include "semface.environment" . | nindent 12 }}
          ports: {{- include "semface.ports" . | nindent 12 }}
          {{- include "semface.probes" . | nindent 10 }}
          lifecycle: {preStop: {sleep: {seconds: {{ $root.Values.drain.preStopSeconds }}}}}
          resources: {{- toYaml $values.resources | nindent 12 }}
          securityContext: {{- include "semface.containerSecurity" $root | nindent 12 }}
          volumeMounts: {{- include "semface.mounts" . | nindent 12 }}
      volumes: {{- include "semface.volumes" . | nindent 8 }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $fullname }}
  labels: {{- include "semface.labels" $context | nindent 4 }}
spec:
  # Headless: callers get every pod's address and take them by turns. The gateway's callers have a load balancer.
  clusterIP: {{ if eq $name "gateway" }}""{{ else }}None{{ end }}
  selector: {{- include "semface.stable" $context | nindent 4 }}
  ports:
    {{- if eq $name "gateway" }}
    - {name: http, port: 8080, targetPort: http, appProtocol: http}
    {{- else }}
    - {name: grpc, port: 8100, targetPort: grpc, appProtocol: kubernetes.io/h2c}
    - {name: metrics, port: 9100, targetPort: metrics}
    {{- end }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $fullname }}
  labels: {{- include "semface.labels" $context | nindent 4 }}
spec:
  maxUnavailable: {{ $values.disruption.maxUnavailable }}
  selector:
    matchLabels: {{- include "semface.stable" $context | nindent 6 }}
{{- $metric := ternary "semface_http_in_flight" "semface_grpc_in_flight" (eq $name "gateway") }}
{{- include "semface.scaling" (dict "root" $root "component" $name "target" $fullname "scaling" $values.scaling "metric" $metric "aim" $values.scaling.inFlight) }}
{{- end -}}

{{- define "semface.ports" -}}
{{- if eq .name "gateway" -}}
- {name: http, containerPort: 8080}
{{- else -}}
- {name: grpc, containerPort: 8100}
- {name: health, containerPort: 8101}
- {name: metrics, containerPort: 9100}
{{- end -}}
{{- end -}}

{{/* Liveness asks the process alone; readiness and start ask the canaries. */}}
{{- define "semface.probes" -}}
{{- if eq .name "gateway" -}}
startupProbe: {httpGet: {path: /livez, port: http}, periodSeconds: 2, failureThreshold: 60}
readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 5, timeoutSeconds: 4, failureThreshold: 2}
livenessProbe: {httpGet: {path: /livez, port: http}, periodSeconds: 10, timeoutSeconds: 3, failureThreshold: 3}
{{- else -}}
startupProbe: {grpc: {port: 8101, service: live}, periodSeconds: 2, failureThreshold: 60}
readinessProbe: {grpc: {port: 8101}, periodSeconds: 5, timeoutSeconds: 3, failureThreshold: 2}
livenessProbe: {grpc: {port: 8101, service: live}, periodSeconds: 10, timeoutSeconds: 3, failureThreshold: 3}
{{- end -}}
{{- end -}}

{{- define "semface.environment" -}}
{{- $root := .root -}}
{{- $fullname := include "semface.fullname" $root -}}
- {name: SEMFACE_KEYS_FILE, value: /etc/semface/access/keys.json}
- {name: SEMFACE_GRACE_SECONDS, value: {{ $root.Values.drain.graceSeconds | quote }}}
- {name: SEMFACE_LOG_LEVEL, value: {{ $root.Values.logLevel }}}
{{- if $root.Values.tracing.enabled }}
- {name: SEMFACE_TRACING_ENDPOINT, value: {{ $root.Values.tracing.endpoint | quote }}}
- {name: SEMFACE_TRACING_RATIO, value: {{ $root.Values.tracing.ratio | quote }}}
{{- end }}
{{- if $root.Values.tls.enabled }}
- {name: SEMFACE_TLS_CERTIFICATE, value: /etc/semface/tls/tls.crt}
- {name: SEMFACE_TLS_KEY, value: /etc/semface/tls/tls.key}
- {name: SEMFACE_TLS_CA, value: /etc/semface/tls/ca.crt}
{{- end }}
{{- if eq .name "gateway" }}
- {name: SEMFACE_HTTP_HOST, value: 0.0.0.0}
{{- range list "extraction" "codec" "understanding" }}
- {name: SEMFACE_{{ upper . }}_ADDRESS, value: "{{ $fullname }}-{{ . }}:8100"}
{{- end }}
- name: SEMFACE_SERVICE_KEY
  valueFrom: {secretKeyRef: {name: {{ $root.Values.secrets.access }}, key: service-key}}
- {name: SEMFACE_MASTER_KEY_FILE, value: /etc/semface/master/master-key}
- {name: SEMFACE_KEY_RING, value: /var/lib/semface/ring.json}
{{- if eq $root.Values.redis.mode "own" }}
- name: REDIS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $root.Values.secrets.redis }}, key: password}}
- name: SEMFACE_REDIS_URL
  value: {{ include "semface.redisUrl" (dict "root" $root "user" "gateway" "variable" "REDIS_PASSWORD") | quote }}
{{- else }}
- name: SEMFACE_REDIS_URL
  valueFrom: {secretKeyRef: {name: {{ required "secrets.redisUrl is needed where redis.mode is external" $root.Values.secrets.redisUrl }}, key: url}}
{{- end }}
{{- else }}
- {name: SEMFACE_HOST, value: 0.0.0.0}
- {name: SEMFACE_HEALTH_PORT, value: "8101"}
- {name: SEMFACE_METRICS_PORT, value: "9100"}
{{- if eq $root.Values.inference.mode "triton" }}
- {name: SEMFACE_INFERENCE, value: "grpc://{{ $fullname }}-triton:8001"}
{{- end }}
{{- end }}
{{- range $key, $value := (index $root.Values .name).environment }}
- {name: {{ $key }}, value: {{ $value | quote }}}
{{- end }}
{{- end -}}

{{/* dict root, user, variable. Without TLS the URL is plain. */}}
{{- define "semface.redisUrl" -}}
{{- $tls := .root.Values.tls.enabled -}}
{{ ternary "rediss" "redis" $tls }}://{{ .user }}:$({{ .variable }})@{{ include "semface.fullname" .root }}-redis:6379/0{{ if $tls }}?ssl_ca_certs=/etc/semface/tls/ca.crt{{ end }}
{{- end -}}

{{- define "semface.mounts" -}}
- {name: access, mountPath: /etc/semface/access, readOnly: true}
- {name: temporary, mountPath: /tmp}
{{- if .root.Values.tls.enabled }}
- {name: tls, mountPath: /etc/semface/tls, readOnly: true}
{{- end }}
{{- if eq .name "gateway" }}
- {name: master, mountPath: /etc/semface/master, readOnly: true}
- {name: ring, mountPath: /var/lib/semface}
{{- else }}
{{- include "semface.modelsMount" .root }}
{{- end }}
{{- end -}}

{{- define "semface.volumes" -}}
- name: access
  secret:
    secretName: {{ .root.Values.secrets.access }}
    defaultMode: 0440
    items: [{key: keys.json, path: keys.json}]
- {name: temporary, emptyDir: {sizeLimit: 1Gi}}
{{- if .root.Values.tls.enabled }}
{{ include "semface.tlsVolume" (dict "root" .root "component" .name) }}
{{- end }}
{{- if eq .name "gateway" }}
- {name: master, secret: {secretName: {{ .root.Values.secrets.masterKey }}, defaultMode: 0440}}
- name: ring
  persistentVolumeClaim: {claimName: {{ default (printf "%s-key-ring" (include "semface.fullname" .root)) .root.Values.keyRing.claim }}}
{{- else }}
{{- include "semface.modelsVolume" .root }}
{{- end }}
{{- end -}}
