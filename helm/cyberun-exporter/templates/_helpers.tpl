{{/* The chart's name, or what replaces it. */}}
{{- define "cyberun-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* What the names of all objects start with. */}}
{{- define "cyberun-exporter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "cyberun-exporter.name" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The full name and a suffix, together short enough. Arguments: root, suffix. */}}
{{- define "cyberun-exporter.suffixed" -}}
{{- $room := sub 62 (len .suffix) | int -}}
{{- printf "%s-%s" (include "cyberun-exporter.fullname" .root | trunc $room | trimSuffix "-") .suffix -}}
{{- end -}}

{{/* A StatefulSet's name becomes part of its pods' names and, with a hash, of a label. */}}
{{- define "cyberun-exporter.statefulSetName" -}}
{{- include "cyberun-exporter.fullname" . | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "cyberun-exporter.serviceAccountName" -}}
{{- $default := ternary (include "cyberun-exporter.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $default .Values.serviceAccount.name -}}
{{- end -}}

{{- define "cyberun-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "cyberun-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of the test's pod: not those by which the Service selects. */}}
{{- define "cyberun-exporter.testLabels" -}}
app.kubernetes.io/name: {{ printf "%s-test" (include "cyberun-exporter.name" . | trunc 58 | trimSuffix "-") }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of an object, as JSON. Arguments: root, labels (optional). */}}
{{- define "cyberun-exporter.labels" -}}
{{- $version := .root.Values.image.tag | default .root.Chart.AppVersion | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- $own := dict
      "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
      "app.kubernetes.io/version" $version
      "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $selector := include "cyberun-exporter.selectorLabels" .root | fromYaml -}}
{{- merge (dict) $selector $own (.labels | default dict) .root.Values.commonLabels | toJson -}}
{{- end -}}

{{/*
The metadata of an object.
Arguments: root, name (the full name if absent), namespace (the release's if empty), labels, annotations (both optional).
*/}}
{{- define "cyberun-exporter.metadata" -}}
metadata:
  name: {{ .name | default (include "cyberun-exporter.fullname" .root) }}
  namespace: {{ .namespace | default .root.Release.Namespace }}
  labels:
    {{- include "cyberun-exporter.labels" . | fromJson | toYaml | nindent 4 }}
  {{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* The metadata of an object that an operator selects by labels. Arguments: root, values, name (optional). */}}
{{- define "cyberun-exporter.selectedMetadata" -}}
{{- $labels := deepCopy .values.labels -}}
{{- with .values.releaseLabel -}}
{{- $labels = set $labels "release" (kindIs "bool" . | ternary $.root.Release.Name .) -}}
{{- end -}}
{{- include "cyberun-exporter.metadata"
      (dict "root" .root "name" .name "namespace" .values.namespace "labels" $labels "annotations" .values.annotations) -}}
{{- end -}}

{{- define "cyberun-exporter.image" -}}
{{- $repository := printf "%s/%s" .Values.image.registry .Values.image.repository | trimPrefix "/" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "cyberun-exporter.tls" -}}
{{- if and .Values.webConfig.enabled .Values.webConfig.tls.enabled }}true{{ end -}}
{{- end -}}

{{- define "cyberun-exporter.scheme" -}}
{{- ternary "https" "http" (include "cyberun-exporter.tls" . | eq "true") -}}
{{- end -}}

{{/* A probe: with TLS over https, where clients need a certificate by opening the port. Arguments: root, probe. */}}
{{- define "cyberun-exporter.probe" -}}
{{- $probe := deepCopy .probe -}}
{{- if and $probe.httpGet (include "cyberun-exporter.tls" .root) -}}
{{- if .root.Values.webConfig.tls.clientCertificates -}}
{{- $probe = set (omit $probe "httpGet") "tcpSocket" (dict "port" $probe.httpGet.port) -}}
{{- else -}}
{{- $_ := set $probe.httpGet "scheme" "HTTPS" -}}
{{- end -}}
{{- end -}}
{{- toYaml $probe -}}
{{- end -}}
