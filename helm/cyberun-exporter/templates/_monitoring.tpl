{{/* What an endpoint of a ServiceMonitor or PodMonitor says. Arguments: root, values. */}}
{{- define "cyberun-exporter.endpoint" -}}
- port: http
  path: {{ .root.Values.config.web.telemetry_path | quote }}
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
{{- $service := printf "%s.%s.svc" (include "cyberun-exporter.serviceName" .) (include "cyberun-exporter.namespace" .) -}}
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

{{/* The metrics that only a scrape of all teams has, as prometheus/prometheus-probe.yml of the repository keeps them. */}}
{{- define "cyberun-exporter.ownMetrics" -}}
process_.*|python_info|cyberun_discovery_.*|cyberun_exporter_(build_info|clock_skew_seconds|config_.*|internal_errors_total|log_lines_dropped_total|unknown_values_total|api_request_seconds_.*)
{{- end -}}

{{/* The `job` of the ScrapeConfig's targets. */}}
{{- define "cyberun-exporter.scrapeConfigJob" -}}
{{- .Values.scrapeConfig.jobName | default .Chart.Name -}}
{{- end -}}

{{/*
The regular expression of the `job` labels that rules read: prometheusRule.job, or what the enabled monitors give, as the
Prometheus Operator does it. Without a monitor it is what the rule files have.
*/}}
{{- define "cyberun-exporter.jobPattern" -}}
{{- if .Values.prometheusRule.job -}}
{{- .Values.prometheusRule.job -}}
{{- else -}}
{{- $jobs := list -}}
{{- with .Values.serviceMonitor -}}
{{- if .enabled -}}
{{- $labels := include "cyberun-exporter.labels" (dict "root" $ "labels" $.Values.service.labels) | fromJson -}}
{{- $jobs = append $jobs (get $labels .jobLabel | default (include "cyberun-exporter.serviceName" $)) -}}
{{- end -}}
{{- end -}}
{{- with .Values.podMonitor -}}
{{- if .enabled -}}
{{- $labels := include "cyberun-exporter.labels" (dict "root" $ "labels" $.Values.podLabels) | fromJson -}}
{{- $name := printf "%s/%s" (.namespace | default (include "cyberun-exporter.namespace" $)) (include "cyberun-exporter.fullname" $) -}}
{{- $jobs = append $jobs (get $labels .jobLabel | default $name) -}}
{{- end -}}
{{- end -}}
{{- if .Values.scrapeConfig.enabled -}}
{{- $jobs = append $jobs (include "cyberun-exporter.scrapeConfigJob" .) -}}
{{- end -}}
{{- range $name := list "serviceMonitor" "podMonitor" "scrapeConfig" -}}
{{- with index $.Values $name -}}
{{- range ternary .relabelings list .enabled -}}
{{- if eq (.targetLabel | default "") "job" -}}
{{- fail (printf "prometheusRule.job: %s.relabelings change the label job; say which jobs the rules shall read" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $i, $job := $jobs | default (list "cyberun" "cyberun-exporter") | uniq -}}
{{- if $i }}|{{ end }}{{ regexQuoteMeta $job -}}
{{- end -}}
{{- end -}}
{{- end -}}
