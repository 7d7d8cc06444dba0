// Package manifests checks what users deploy Quorate with, deploy/kubernetes and compose.yaml, against the programs that will read it:
// the API server's own types, defaults and validation, and the loader of Compose version 2. It has a module of its own, so that
// none of that decides a version of what ships.
package manifests
