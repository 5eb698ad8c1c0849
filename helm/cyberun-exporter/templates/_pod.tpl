{{/* The pod template of the Deployment or StatefulSet. */}}
{{- define "cyberun-exporter.podTemplate" -}}
{{- range concat .Values.extraContainers .Values.extraInitContainers -}}
{{- if eq .name "exporter" -}}
{{- fail "extraContainers, extraInitContainers: exporter is the name of the chart's own container" -}}
{{- end -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if and $.Values.sharding.enabled (eq .name "POD_INDEX") -}}
{{- fail "extraEnv: POD_INDEX is the chart's own variable, which tells a pod its shard" -}}
{{- end -}}
{{- end -}}
metadata:
  labels:
    {{- include "cyberun-exporter.labels" (dict "root" . "labels" .Values.podLabels) | fromJson | toYaml | nindent 4 }}
  annotations:
    {{- $checksums := dict "checksum/config" (include "cyberun-exporter.config" . | sha256sum) }}
    {{- with include "cyberun-exporter.tokens" . | trim }}
    {{- $checksums = set $checksums "checksum/tokens" (sha256sum .) }}
    {{- end }}
    {{- if and .Values.webConfig.enabled (not .Values.webConfig.existingSecret) }}
    {{- $checksums = set $checksums "checksum/web-config" (include "cyberun-exporter.webConfig" . | sha256sum) }}
    {{- end }}
    {{- merge $checksums .Values.podAnnotations | toYaml | nindent 4 }}
spec:
  serviceAccountName: {{ include "cyberun-exporter.serviceAccountName" . | quote }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- include "cyberun-exporter.podPlacement" . | trim | nindent 2 }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.extraInitContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: exporter
      image: {{ include "cyberun-exporter.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        - --config.file={{ include "cyberun-exporter.directory" . }}/config/config.yaml
        {{- if .Values.sharding.enabled }}
        - --shard=$(POD_INDEX)
        - --total-shards={{ .Values.replicaCount }}
        {{- end }}
        {{- with .Values.extraArgs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .Values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if or .Values.sharding.enabled .Values.extraEnv }}
      env:
        {{- if .Values.sharding.enabled }}
        - name: POD_INDEX
          valueFrom:
            fieldRef:
              fieldPath: metadata.labels['apps.kubernetes.io/pod-index']
        {{- end }}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
      ports:
        - name: http
          containerPort: {{ .Values.containerPort }}
          protocol: TCP
      {{- range $name := list "livenessProbe" "readinessProbe" "startupProbe" }}
      {{- with index $.Values $name }}
      {{ $name }}:
        {{- include "cyberun-exporter.probe" (dict "root" $ "name" $name "probe" .) | nindent 8 }}
      {{- end }}
      {{- end }}
      {{- with .Values.securityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        {{- include "cyberun-exporter.volumeMounts" . | trim | nindent 8 }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "cyberun-exporter.volumes" . | nindent 4 }}
{{- end -}}

{{/* What the exporter's pods and the test's pod have in common. */}}
{{- define "cyberun-exporter.podPlacement" -}}
{{- with .Values.podSecurityContext -}}
securityContext:
  {{- toYaml . | nindent 2 }}
{{ end -}}
{{- $pullSecrets := list -}}
{{- range concat .Values.global.imagePullSecrets .Values.imagePullSecrets -}}
{{- $pullSecrets = append $pullSecrets (kindIs "string" . | ternary (dict "name" .) .) -}}
{{- end -}}
{{- with uniq $pullSecrets -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{ end -}}
{{- range $name := list "priorityClassName" "dnsPolicy" -}}
{{- with index $.Values $name -}}
{{ $name }}: {{ quote . }}
{{ end -}}
{{- end -}}
{{- range $name := list "dnsConfig" "hostAliases" -}}
{{- with index $.Values $name -}}
{{ $name }}:
  {{- toYaml . | nindent 2 }}
{{ end -}}
{{- end -}}
{{- with .Values.nodeSelector -}}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{ end -}}
{{- with .Values.tolerations -}}
tolerations:
  {{- toYaml . | nindent 2 }}
{{ end -}}
{{- end -}}
