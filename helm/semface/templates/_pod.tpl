{{/* What every pod and container shares. */}}

{{- define "semface.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "semface.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "semface.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* dict root, component: apart over zones and nodes. */}}
{{- define "semface.spread" -}}
{{- $context := . -}}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: {{ $context.root.Values.topologySpread.whenUnsatisfiable }}
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels: {{- include "semface.stable" $context | nindent 8 }}
  {{- end }}
{{- end -}}

{{/* Fails where a stop would be cut off. */}}
{{- define "semface.termination" -}}
{{- $drain := .Values.drain -}}
{{- if ge (add (int $drain.preStopSeconds) (int $drain.graceSeconds)) (int $drain.terminationSeconds) -}}
{{- fail (printf "drain.preStopSeconds + drain.graceSeconds (%d) must be shorter than drain.terminationSeconds (%d)" (add (int $drain.preStopSeconds) (int $drain.graceSeconds)) (int $drain.terminationSeconds)) -}}
{{- end -}}
{{- $drain.terminationSeconds -}}
{{- end -}}

{{/* dict root, component, and extra names: the certificate of one component. */}}
{{- define "semface.tlsVolume" -}}
- name: tls
  secret:
    secretName: {{ include "semface.fullname" .root }}-{{ .component }}-tls
    defaultMode: 0440
{{- end -}}

{{/* Networks from a claim, where they do not come with the image. */}}
{{- define "semface.modelsVolume" -}}
{{- if eq .Values.models.source "claim" }}
- name: models
  persistentVolumeClaim: {claimName: {{ required "models.claim is needed where models.source is claim" .Values.models.claim }}, readOnly: true}
{{- end }}
{{- end -}}

{{- define "semface.modelsMount" -}}
{{- if eq .Values.models.source "claim" }}
- {name: models, mountPath: /model_repository, subPath: {{ printf "%s/model_repository" .Values.models.folder | trimPrefix "/" | quote }}, readOnly: true}
{{- end }}
{{- end -}}
