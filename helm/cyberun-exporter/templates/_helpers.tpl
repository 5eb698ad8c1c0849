{{/* The chart's name, or what replaces it. */}}
{{- define "cyberun-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/*
What the names of all objects start with. A Service's name has small letters, digits and hyphens, and starts with a letter;
a release may be called "2024" or "gpu.farm".
*/}}
{{- define "cyberun-exporter.fullname" -}}
{{- $name := include "cyberun-exporter.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full = .Values.fullnameOverride | default $full | lower | replace "." "-" | replace "_" "-" -}}
{{- regexMatch "^[a-z]" $full | ternary $full (printf "%s-%s" .Chart.Name .Release.Name | replace "." "-") | trunc 63 | trimAll "-" -}}
{{- end -}}

{{/* Where all objects are, but those that a value puts elsewhere. */}}
{{- define "cyberun-exporter.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
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

{{/* The headless Service of shards has a name of its own: a Service cannot become headless, or stop being so. */}}
{{- define "cyberun-exporter.serviceName" -}}
{{- if .Values.sharding.enabled -}}
{{- include "cyberun-exporter.suffixed" (dict "root" . "suffix" "shards") -}}
{{- else -}}
{{- include "cyberun-exporter.fullname" . -}}
{{- end -}}
{{- end -}}

{{- define "cyberun-exporter.serviceAccountName" -}}
{{- $default := ternary (include "cyberun-exporter.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $default .Values.serviceAccount.name -}}
{{- end -}}

{{- define "cyberun-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "cyberun-exporter.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Labels of the test's pod: not those by which the Service selects. */}}
{{- define "cyberun-exporter.testLabels" -}}
app.kubernetes.io/name: {{ printf "%s-test" (include "cyberun-exporter.name" . | trunc 58 | trimSuffix "-") | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Labels of an object, as JSON. Arguments: root, labels (optional). */}}
{{- define "cyberun-exporter.labels" -}}
{{- /* A tag may carry a digest, which no label value can. */ -}}
{{- $tag := .root.Values.image.tag | default .root.Chart.AppVersion | splitList "@" | first -}}
{{- $version := regexReplaceAll "^[^A-Za-z0-9]+|[^A-Za-z0-9]+$" (regexReplaceAll "[^A-Za-z0-9._-]" $tag "_" | trunc 63) "" -}}
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
  name: {{ .name | default (include "cyberun-exporter.fullname" .root) | quote }}
  namespace: {{ .namespace | default (include "cyberun-exporter.namespace" .root) | quote }}
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
{{- $registry := .Values.global.imageRegistry | default .Values.image.registry -}}
{{- $repository := printf "%s/%s" $registry .Values.image.repository | trimPrefix "/" -}}
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

{{/*
A probe: one that asks in another way than by HTTP asks in that way alone; with TLS over https, where clients need a
certificate by opening the port. Arguments: root, name, probe.
*/}}
{{- define "cyberun-exporter.probe" -}}
{{- $probe := deepCopy .probe -}}
{{- $others := list -}}
{{- range $handler := list "exec" "grpc" "tcpSocket" -}}
{{- if kindIs "map" (index $probe $handler) }}{{ $others = append $others $handler }}{{ end -}}
{{- end -}}
{{- if gt (len $others) 1 -}}
{{- fail (printf "%s: set one of exec, grpc and tcpSocket; found %s" .name ($others | join ", ")) -}}
{{- end -}}
{{- if $others -}}
{{- $probe = omit $probe "httpGet" -}}
{{- else if not $probe.httpGet -}}
{{- fail (printf "%s: set one of exec, grpc, httpGet and tcpSocket; null leaves the whole probe out" .name) -}}
{{- end -}}
{{- if and $probe.httpGet (include "cyberun-exporter.tls" .root) -}}
{{- if .root.Values.webConfig.tls.clientCertificates -}}
{{- $probe = set (omit $probe "httpGet") "tcpSocket" (dict "port" $probe.httpGet.port) -}}
{{- else -}}
{{- $_ := set $probe.httpGet "scheme" "HTTPS" -}}
{{- end -}}
{{- end -}}
{{- toYaml $probe -}}
{{- end -}}
