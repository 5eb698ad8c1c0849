{{/* What an endpoint of a ServiceMonitor or PodMonitor says. Arguments: root, values. */}}
{{- define "cyberun-exporter.endpoint" -}}
- port: http
  path: {{ .root.Values.config.web.telemetry_path }}
  scheme: {{ include "cyberun-exporter.scheme" .root }}
  {{- with .values.interval }}
  interval: {{ . }}
  {{- end }}
  {{- include "cyberun-exporter.scrape" .values | nindent 2 }}
  {{- with .values.relabelings }}
  relabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.metricRelabelings }}
  metricRelabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* The part that is the same in all three kinds of monitors. Argument: their values. */}}
{{- define "cyberun-exporter.scrape" -}}
honorLabels: {{ .honorLabels }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .tlsConfig }}
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .basicAuth }}
basicAuth:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "cyberun-exporter.limits" -}}
{{- range $name := list "sampleLimit" "targetLimit" "labelLimit" "labelNameLengthLimit" "labelValueLengthLimit" -}}
{{- with index $ $name }}
{{ $name }}: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The name and port of each pod for a scraper outside the release's namespace, as a JSON list. */}}
{{- define "cyberun-exporter.addresses" -}}
{{- $service := printf "%s.%s.svc" (include "cyberun-exporter.fullname" .) .Release.Namespace -}}
{{- if .Values.sharding.enabled -}}
{{- $addresses := list -}}
{{- range $i := until (int .Values.replicaCount) -}}
{{- $pod := printf "%s-%d" (include "cyberun-exporter.statefulSetName" $) $i -}}
{{- $addresses = append $addresses (printf "%s.%s:%d" $pod $service (int $.Values.containerPort)) -}}
{{- end -}}
{{- toJson $addresses -}}
{{- else -}}
{{- list (printf "%s:%d" $service (int .Values.service.port)) | toJson -}}
{{- end -}}
{{- end -}}
