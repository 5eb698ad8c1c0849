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
The items of `teams` or `discover` as a JSON list: `config` as the exporter reads it; `secret` and `key` of its credential
where the chart mounts it. Arguments: root, list (its name).
*/}}
{{- define "cyberun-exporter.entries" -}}
{{- $entries := list -}}
{{- range $i, $item := index .root.Values .list -}}
{{- $given := list -}}
{{- range $key := list "existingSecret" "token" "token_file" "token_env" "refresh_token_file" -}}
{{- if index $item $key }}{{ $given = append $given $key }}{{ end -}}
{{- end -}}
{{- if ne (len $given) 1 -}}
{{- fail (printf "%s[%d]: set one of existingSecret, token, token_file, token_env and refresh_token_file; found %s"
      $.list $i ($given | join ", " | default "none")) -}}
{{- end -}}
{{- $entry := dict "config" (omit $item "existingSecret" "existingSecretKey" "token") -}}
{{- if $item.existingSecret -}}
{{- $entry = merge $entry (dict "secret" $item.existingSecret "key" ($item.existingSecretKey | default "token")) -}}
{{- else if $item.token -}}
{{- $entry = merge $entry (dict "secret" (include "cyberun-exporter.tokensName" $.root) "key" (printf "%s-%d" $.list $i)) -}}
{{- end -}}
{{- if $entry.secret -}}
{{- $directory := include "cyberun-exporter.directory" $.root -}}
{{- $_ := set $entry.config "token_file" (printf "%s/secrets/%s/%s" $directory $entry.secret $entry.key) -}}
{{- end -}}
{{- $entries = append $entries $entry -}}
{{- end -}}
{{- toJson $entries -}}
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
{{- if not (concat .Values.teams .Values.discover) -}}
{{- fail "teams: name at least one, or a credential in discover" -}}
{{- end -}}
{{- range $list := list "teams" "discover" -}}
{{- $items := list -}}
{{- range include "cyberun-exporter.entries" (dict "root" $ "list" $list) | fromJsonArray -}}
{{- $items = append $items .config -}}
{{- end -}}
{{- $_ = set $config $list $items -}}
{{- end -}}
{{- toYaml $config -}}
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

{{/* The names of the chart's own volumes, each mounted below the directory under its name, as a JSON list. */}}
{{- define "cyberun-exporter.volumeNames" -}}
{{- list "config" "secrets" "web" "tls" "ca" | toJson -}}
{{- end -}}

{{/* Volumes: the configuration, and Secrets as files that follow their rotation. */}}
{{- define "cyberun-exporter.volumes" -}}
{{- $own := include "cyberun-exporter.volumeNames" . | fromJsonArray -}}
{{- range $i, $volume := .Values.extraVolumes -}}
{{- if has $volume.name $own -}}
{{- fail (printf "extraVolumes[%d]: %s is a name of the chart's own volumes, which are %s" $i $volume.name ($own | join ", ")) -}}
{{- end -}}
{{- end -}}
- name: config
  configMap:
    name: {{ include "cyberun-exporter.fullname" . | quote }}
{{- $sources := list -}}
{{- range $list := list "teams" "discover" }}
{{- range include "cyberun-exporter.entries" (dict "root" $ "list" $list) | fromJsonArray }}
{{- if .secret }}
{{- $item := dict "key" .key "path" (printf "%s/%s" .secret .key) }}
{{- $sources = append $sources (dict "secret" (dict "name" .secret "items" (list $item))) }}
{{- end }}
{{- end }}
{{- end }}
{{- with uniq $sources }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- toYaml . | nindent 6 }}
{{- end }}
{{- if .Values.webConfig.enabled }}
- name: web
  secret:
    secretName: {{ include "cyberun-exporter.webConfigName" . | quote }}
    defaultMode: 0440
{{- with .Values.webConfig.tls.existingSecret }}
- name: tls
  secret:
    secretName: {{ quote . }}
    defaultMode: 0440
{{- end }}
{{- end }}
{{- if .Values.caBundle.existingConfigMap }}
- name: ca
  configMap:
    name: {{ .Values.caBundle.existingConfigMap | quote }}
{{- else if .Values.caBundle.existingSecret }}
- name: ca
  secret:
    secretName: {{ .Values.caBundle.existingSecret | quote }}
    items:
      - key: {{ .Values.caBundle.key | quote }}
        path: {{ .Values.caBundle.key | quote }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Where the volumes are mounted. */}}
{{- define "cyberun-exporter.volumeMounts" -}}
{{- $own := include "cyberun-exporter.volumeNames" . | fromJsonArray -}}
{{- $taken := list (include "cyberun-exporter.directory" .) -}}
{{- range $own }}{{ $taken = append $taken (printf "%s/%s" (first $taken) .) }}{{ end -}}
{{- range $i, $mount := .Values.extraVolumeMounts -}}
{{- if has ($mount.mountPath | clean) $taken -}}
{{- fail (printf "extraVolumeMounts[%d]: %s is where the chart mounts its own volumes" $i $mount.mountPath) -}}
{{- end -}}
{{- end -}}
{{- range include "cyberun-exporter.volumes" . | fromYamlArray }}
{{- if has .name $own }}
- name: {{ .name }}
  mountPath: {{ include "cyberun-exporter.directory" $ }}/{{ .name }}
  readOnly: true
{{- end }}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}
