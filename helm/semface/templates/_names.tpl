{{/* Names, labels and images. */}}

{{- define "semface.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Labels by which all pods of the release, or with a component those of one, are found: dict root, component. */}}
{{- define "semface.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{/* The same, of what serves now; a rollout's candidate has the track `candidate`. */}}
{{- define "semface.stable" -}}
{{ include "semface.selector" . }}
semface.dev/track: stable
{{- end -}}

{{- define "semface.labels" -}}
{{ include "semface.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: semface
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{/* dict root, image. */}}
{{- define "semface.image" -}}
{{- $tag := default .root.Chart.AppVersion .image.tag -}}
{{- with .image.registry }}{{ . }}/{{ end }}{{ .image.repository }}{{ if .image.digest }}@{{ .image.digest }}{{ else }}:{{ $tag }}{{ end }}
{{- end -}}

{{/* What changes with the networks: names folders and Jobs. */}}
{{- define "semface.revision" -}}
{{- $image := .Values.triton.image -}}
{{- $told := list .Values.models.source .Values.models.folder (include "semface.image" (dict "root" . "image" $image)) .Values.triton.engines.tensorrtVersion -}}
{{- join "|" $told | sha256sum | trunc 10 -}}
{{- end -}}
