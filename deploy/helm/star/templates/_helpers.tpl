{{- define "star.labels" -}}
{app.kubernetes.io/name: star, app.kubernetes.io/instance: {{ .Release.Name | quote }}, app.kubernetes.io/managed-by: {{ .Release.Service | quote }}}
{{- end -}}
{{- define "star.pod" -}}
automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        fsGroup: 10001
        fsGroupChangePolicy: OnRootMismatch
        seccompProfile: {type: RuntimeDefault}
      imagePullSecrets: {{ range .Values.images.pullSecrets }}
        - name: {{ . | quote }}{{ else }}[]{{ end }}
{{- end -}}
{{- define "star.container" -}}
securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
{{- end -}}
{{- define "star.environment" -}}
envFrom:
            - configMapRef: {name: {{ .Release.Name }}-settings}
            - secretRef: {name: {{ .Values.secret }}}
{{- end -}}
