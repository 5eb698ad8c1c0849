{{- define "cyberun-exporter.directory" -}}/etc/cyberun-exporter{{- end -}}

{{/* The Secret the chart makes of the teams' `token` values. */}}
{{- define "cyberun-exporter.tokensName" -}}
{{- include "cyberun-exporter.suffixed" (dict "root" . "suffix" "tokens") -}}
{{- end -}}

{{/* Where the web configuration comes from. */}}
{{- define "cyberun-exporter.webConfigName" -}}
{{- .Values.webConfig.existingSecret | default (include "cyberun-exporter.suffixed" (dict "root" . "suffix" "web-config")) -}}
{{- end -}}

{{- define "cyberun-exporter.webConfigKey" -}}
{{- empty .Values.webConfig.existingSecret | ternary "web-config.yml" .Values.webConfig.existingSecretKey -}}
{{- end -}}

{{/*
Where each team's credential lies, as a JSON list with an item per team: `secret` and `key`, or nothing where the team
names its credential itself.
*/}}
{{- define "cyberun-exporter.credentials" -}}
{{- $sources := list -}}
{{- range $i, $team := .Values.teams -}}
{{- $given := list -}}
{{- range $key := list "existingSecret" "token" "token_file" "token_env" "refresh_token_file" -}}
{{- if index $team $key }}{{ $given = append $given $key }}{{ end -}}
{{- end -}}
{{- if ne (len $given) 1 -}}
{{- fail (printf "teams[%d] (%s): set one of existingSecret, token, token_file, token_env and refresh_token_file; found %s"
      $i $team.name ($given | join ", " | default "none")) -}}
{{- end -}}
{{- if $team.existingSecret -}}
{{- $sources = append $sources (dict "secret" $team.existingSecret "key" ($team.existingSecretKey | default "token")) -}}
{{- else if $team.token -}}
{{- $sources = append $sources (dict "secret" (include "cyberun-exporter.tokensName" $) "key" (printf "team-%d" $i)) -}}
{{- else -}}
{{- $sources = append $sources dict -}}
{{- end -}}
{{- end -}}
{{- toJson $sources -}}
{{- end -}}

{{/* The exporter's configuration file. */}}
{{- define "cyberun-exporter.config" -}}
{{- $directory := include "cyberun-exporter.directory" . -}}
{{- $config := deepCopy .Values.config -}}
{{- $_ := set $config.web "listen_address" (printf ":%d" (int .Values.containerPort)) -}}
{{- if .Values.webConfig.enabled -}}
{{- $_ = set $config.web "config_file" (printf "%s/web/%s" $directory (include "cyberun-exporter.webConfigKey" .)) -}}
{{- end -}}
{{- if or .Values.caBundle.existingConfigMap .Values.caBundle.existingSecret -}}
{{- $_ = set $config.api "ca_file" (printf "%s/ca/%s" $directory .Values.caBundle.key) -}}
{{- end -}}
{{- $credentials := include "cyberun-exporter.credentials" . | fromJsonArray -}}
{{- $teams := list -}}
{{- range $i, $team := .Values.teams -}}
{{- $own := omit $team "existingSecret" "existingSecretKey" "token" -}}
{{- with index $credentials $i -}}
{{- $own = set $own "token_file" (printf "%s/secrets/%s/%s" $directory .secret .key) -}}
{{- end -}}
{{- $teams = append $teams $own -}}
{{- end -}}
{{- set $config "teams" $teams | toYaml -}}
{{- end -}}

{{/* The web configuration that the chart makes, in the format of the Prometheus exporter toolkit. */}}
{{- define "cyberun-exporter.webConfig" -}}
{{- $config := dict -}}
{{- if .Values.webConfig.tls.enabled -}}
{{- $directory := printf "%s/tls" (include "cyberun-exporter.directory" .) -}}
{{- $_ := required "webConfig.tls.existingSecret: name the Secret with tls.crt and tls.key" .Values.webConfig.tls.existingSecret -}}
{{- $tls := dict "cert_file" (printf "%s/tls.crt" $directory) "key_file" (printf "%s/tls.key" $directory) -}}
{{- if .Values.webConfig.tls.clientCertificates -}}
{{- $tls = set $tls "client_ca_file" (printf "%s/ca.crt" $directory) -}}
{{- $tls = set $tls "client_auth_type" "RequireAndVerifyClientCert" -}}
{{- end -}}
{{- $_ = set $config "tls_server_config" $tls -}}
{{- end -}}
{{- with .Values.webConfig.basicAuthUsers -}}
{{- $_ := set $config "basic_auth_users" . -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* Volumes: the configuration, and Secrets as files that follow their rotation. */}}
{{- define "cyberun-exporter.volumes" -}}
- name: config
  configMap:
    name: {{ include "cyberun-exporter.fullname" . }}
{{- $sources := list -}}
{{- range include "cyberun-exporter.credentials" . | fromJsonArray | uniq }}
{{- if . }}
{{- $item := dict "key" .key "path" (printf "%s/%s" .secret .key) }}
{{- $sources = append $sources (dict "secret" (dict "name" .secret "items" (list $item))) }}
{{- end }}
{{- end }}
{{- with $sources }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- toYaml . | nindent 6 }}
{{- end }}
{{- if .Values.webConfig.enabled }}
- name: web
  secret:
    secretName: {{ include "cyberun-exporter.webConfigName" . }}
    defaultMode: 0440
{{- with .Values.webConfig.tls.existingSecret }}
- name: tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end }}
{{- if .Values.caBundle.existingConfigMap }}
- name: ca
  configMap:
    name: {{ .Values.caBundle.existingConfigMap }}
{{- else if .Values.caBundle.existingSecret }}
- name: ca
  secret:
    secretName: {{ .Values.caBundle.existingSecret }}
    items:
      - key: {{ .Values.caBundle.key }}
        path: {{ .Values.caBundle.key }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Where the volumes are mounted. */}}
{{- define "cyberun-exporter.volumeMounts" -}}
{{- range include "cyberun-exporter.volumes" . | fromYamlArray }}
{{- if has .name (list "config" "secrets" "web" "tls" "ca") }}
- name: {{ .name }}
  mountPath: {{ include "cyberun-exporter.directory" $ }}/{{ .name }}
  readOnly: true
{{- end }}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}
