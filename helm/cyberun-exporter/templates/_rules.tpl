{{/*
The rule files are those of the repository's prometheus/rules and rules-without-hold, byte for byte. They mark the numbers to change with
comments inside the expressions, so `> 900  # threshold: seconds` can be found and replaced.
*/}}

{{/* The groups of all rule files as JSON, fitted to the values. */}}
{{- define "cyberun-exporter.groups" -}}
{{- $values := .Values.prometheusRule -}}
{{- $left := concat $values.disabled (keys $values.thresholds) (keys $values.minimums) (keys $values.for) -}}
{{- $job := include "cyberun-exporter.jobPattern" . | toJson -}}
{{- $groups := list -}}
{{- $flavour := $values.hold | ternary "rules" "rules-without-hold" -}}
{{- range $path, $_ := .Files.Glob (printf "files/%s/*.yml" $flavour) -}}
{{- $text := $.Files.Get $path | replace "job=~\"cyberun|cyberun-exporter\"" (printf "job=~%s" $job) -}}
{{- range (fromYaml $text).groups -}}
{{- $rules := list -}}
{{- range .rules -}}
{{- $name := .alert | default .record -}}
{{- $left = without $left $name -}}
{{- if not (has $name $values.disabled) -}}
{{- $rules = append $rules (include "cyberun-exporter.rule" (dict "rule" . "name" $name "values" $values) | fromJson) -}}
{{- end -}}
{{- end -}}
{{- $groups = append $groups (set . "rules" $rules) -}}
{{- end -}}
{{- end -}}
{{- with $left -}}
{{- fail (printf "prometheusRule: no rule is named %s" (. | uniq | sortAlpha | join ", ")) -}}
{{- end -}}
{{- dict "groups" $groups | toJson -}}
{{- end -}}

{{/* One rule as JSON. Arguments: rule, name, values. */}}
{{- define "cyberun-exporter.rule" -}}
{{- $rule := .rule -}}
{{- range $mark, $numbers := dict "threshold" .values.thresholds "minimum" .values.minimums -}}
{{- if hasKey $numbers $.name -}}
{{- $pattern := printf "([<>]=?) *[0-9.e+-]+ *(# %s:)" $mark -}}
{{- if not (regexMatch $pattern $rule.expr) -}}
{{- fail (printf "prometheusRule.%ss: %s has no %s" $mark $.name $mark) -}}
{{- end -}}
{{- $_ := set $rule "expr" (regexReplaceAll $pattern $rule.expr (printf "${1} %s  ${2}" (index $numbers $.name | toJson))) -}}
{{- end -}}
{{- end -}}
{{- if $rule.alert -}}
{{- with index .values.for $.name -}}
{{- $_ := set $rule "for" . -}}
{{- end -}}
{{- $_ := set $rule "labels" (merge $rule.labels .values.additionalLabels) -}}
{{- $links := dict
      "runbook_url" (list "https://github.com/cyberun-cloud/cyberun-exporter/blob/main/docs/runbooks" .values.runbookUrl)
      "dashboard_url" (list "http://localhost:3000" .values.dashboardUrl) -}}
{{- range $annotation, $replacement := $links -}}
{{- $url := index $rule.annotations $annotation -}}
{{- $_ := unset $rule.annotations $annotation -}}
{{- if and $url (index $replacement 1) -}}
{{- $_ = set $rule.annotations $annotation (replace (index $replacement 0) (index $replacement 1 | trimSuffix "/") $url) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $rule -}}
{{- end -}}
