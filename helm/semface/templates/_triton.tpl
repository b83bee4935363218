{{/* What Triton loads, where it does not come with the image. */}}
{{- define "semface.tritonModelsMount" -}}
{{- if eq .Values.models.source "claim" }}
- {name: models, mountPath: /models, subPath: {{ printf "%s/triton" .Values.models.folder | trimPrefix "/" | quote }}, readOnly: true}
{{- end }}
{{- end -}}

{{/* A pool by Triton's mean time in a queue, a recorded series: dict root, pool, target. */}}
{{- define "semface.tritonScaling" -}}
{{- $aim := printf "%.4f" (divf (float64 .root.Values.triton.queueMilliseconds) 1000.0) -}}
{{- include "semface.scaling" (dict "root" .root "component" "triton" "target" .target "scaling" .pool.scaling "metric" "semface_triton_queue_seconds" "aim" $aim "service" (printf "%s-triton" (include "semface.fullname" .root))) -}}
{{- end -}}
